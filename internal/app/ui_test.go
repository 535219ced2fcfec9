package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/wire"
)

var shots = flag.String("ui.shots", "", "folder that gets screenshots of the page for operators")

// tab is a page in a real Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // It is the tab.

	mu     sync.Mutex
	faults []string // that the console shows
}

// browse opens a URL. Without Chromium the test fails: the page is not to go out untried.
func browse(t *testing.T, url string) *tab {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("the page for operators is tried in Chromium, and none is installed: apt-get install chromium, or put Chrome into PATH")
	}
	bounded, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox) // tests may run as root
	browser, quit := chromedp.NewExecAllocator(bounded, options...)
	t.Cleanup(quit)
	ctx, closeTab := chromedp.NewContext(browser)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		closeTab()
	})
	page := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, page.hear); err != nil {
		t.Fatal(err)
	}
	page.size(1440)
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return page
}

func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, fmt.Sprintf("%s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *cdplog.EventEntryAdded:
		p.faults = append(p.faults, fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL))
	case *runtime.EventConsoleAPICalled:
		p.faults = append(p.faults, fmt.Sprintf("console.%v", e.Type))
	}
}

func (p *tab) size(width int64) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.EmulateViewport(width, 900)); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns what an expression of the page gives.
func eval[T any](p *tab, js string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return value
}

// until waits for an expression to be true.
func (p *tab) until(what, js string) {
	p.t.Helper()
	limit := time.After(30 * time.Second)
	for !eval[bool](p, js) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-limit:
			p.t.Fatalf("the page never shows %s; its text is\n%s", what, eval[string](p, "document.body.innerText"))
		}
	}
}

// shoot writes a screenshot if they are asked for: of what is seen, or of the whole page.
func (p *tab) shoot(name string, whole bool) {
	p.t.Helper()
	if *shots == "" {
		return
	}
	take := chromedp.CaptureScreenshot()
	if whole {
		take = chromedp.FullScreenshot(100)
	}
	png, err := chromedp.Run(p.ctx, take)
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, "ui-"+name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

const says = `document.body.innerText.includes(%q)`

// nameless lists controls that no assistive technology could name.
const nameless = `[...document.querySelectorAll("a, button, input, select, textarea, summary, [role=meter], [role=img], [tabindex='0']")]
	.filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")))
	.map(e => e.outerHTML.slice(0, 120))`

// pale lists texts whose contrast with their ground is below 4.5, as WCAG's level AA wants it.
const pale = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const rgb = c => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
	const light = c => { const [r, g, b] = [...rgb(c)].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] > 0) return c; } return "#fff"; };
	const found = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (!e.checkVisibility() || e.closest("svg, :disabled, option") || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a);
		const contrast = (a + 0.05) / (b + 0.05);
		if (contrast < 4.5) found.add(contrast.toFixed(2) + " " + e.outerHTML.slice(0, 100));
	}
	return [...found];
})()`

func TestTheLivePageInABrowser(t *testing.T) {
	cfg := quick()
	cfg.Up.UI = "127.0.0.1:0"
	cfg.Sim.TimeScale = 20
	base, d := startUp(t, cfg)
	page := browse(t, d.ui())
	page.until("that it is live", `document.getElementById("status-text").textContent === "Live"`)
	page.until("that nothing has come yet", fmt.Sprintf(says, "No request has come"))
	for _, e := range d.engines {
		page.until("worker "+e.worker, fmt.Sprintf(`!!document.querySelector(".worker-name[title='%s']")`, e.worker))
	}
	page.shoot("idle", false)

	requests, words := 12, 1200
	if *shots != "" {
		requests, words = 600, 6000
	}
	var load errgroup.Group
	for i := range requests {
		load.Go(func() error {
			body := chatBody(cfg.Sim.Model, fmt.Sprintf("%d %s", i, strings.Repeat("word ", words*(i%10+1)/10)), 40)
			_, err := streamChat(t.Context(), http.DefaultClient, base, body)
			return err
		})
	}
	if *shots != "" {
		page.until("a third of a burst", fmt.Sprintf(`document.querySelectorAll(".state.done").length > 20 && parseInt(document.querySelector("#tiles dd").textContent) < %d`, requests*2/3))
		page.shoot("burst", true)
	}
	if err := load.Wait(); err != nil {
		t.Fatal(err)
	}
	page.until("a request's waterfall", `document.querySelectorAll(".requests .waterfall i").length > 3`)
	eval[any](page, `document.querySelector(".requests .disclose").click()`)
	page.until("a request's details", `!!document.querySelector(".requests .details .steps")`)
	eval[any](page, `(() => { const f = document.getElementById("filter"); f.value = "nobody"; f.dispatchEvent(new Event("input")); })()`)
	page.until("that nothing fits", fmt.Sprintf(says, "fits the filter"))
	eval[any](page, `(() => { const f = document.getElementById("filter"); f.value = ""; f.dispatchEvent(new Event("input")); })()`)

	eval[any](page, `document.getElementById("chat").requestSubmit()`)
	page.until("the end of a chat", `document.getElementById("answer-facts").textContent.startsWith("Done")`)
	if text := eval[string](page, `document.getElementById("answer").textContent`); len(strings.Fields(text)) < 20 {
		t.Errorf("the chat's answer is %q", text)
	}
	page.shoot("requests", true)

	dead := wire.Announcement{ID: wire.ProcessID("decode", "dead"), Role: wire.RoleDecode, Started: time.Now(), Interval: 100 * time.Millisecond, Ready: true}
	text, err := json.Marshal(dead)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.proc.bus.Publish(wire.AnnounceSubject, text); err != nil {
		t.Fatal(err)
	}
	page.until("a worker's death", fmt.Sprintf(says, "decode-dead died"))
	page.shoot("dead-worker", false)

	for _, theme := range []string{"light", "dark"} {
		page.until("the theme "+theme, fmt.Sprintf(`(document.getElementById("theme").click(), document.documentElement.dataset.theme === %q)`, theme))
		if found := eval[[]string](page, pale); len(found) > 0 {
			t.Errorf("in the theme %s these are pale:\n%s", theme, strings.Join(found, "\n"))
		}
		for _, width := range []int64{360, 768, 1024, 1440} {
			page.size(width)
			page.until("itself at the new size", fmt.Sprintf("innerWidth === %d", width))
			if wide := eval[int64](page, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("at %d pixels the page is %d wide: %v", width, wide, eval[[]string](page,
					`[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map(e => e.outerHTML.slice(0, 120))`))
			}
			if width == 360 && theme == "light" {
				page.shoot("narrow", true)
			}
		}
		if theme == "dark" {
			page.shoot("dark", false)
		}
	}
	if found := eval[[]string](page, nameless); len(found) > 0 {
		t.Errorf("these have no name:\n%s", strings.Join(found, "\n"))
	}
	page.mu.Lock()
	defer page.mu.Unlock()
	if len(page.faults) > 0 {
		t.Errorf("the console shows:\n%s", strings.Join(page.faults, "\n"))
	}
}
