package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/api/auth"
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
	most := 100 * time.Second
	if *shots != "" {
		most *= 4 // the burst of the pictures
	}
	bounded, cancel := context.WithTimeout(t.Context(), most)
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
	page.size(1440, 900)
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

func (p *tab) size(width, height int64) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.EmulateViewport(width, height)); err != nil {
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
	limit := time.After(45 * time.Second)
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
	if *shots != "" {
		cfg.Up.Prefill, cfg.Up.Decode, cfg.Sim.TimeScale = 4, 4, 6 // a burst that takes long enough to be seen
	}
	base, d := startUp(t, cfg)
	page := browse(t, d.ui())
	page.until("that it is live", `document.getElementById("status-text").textContent === "Live"`)
	page.until("that nothing has come yet", fmt.Sprintf(says, "No request has come"))
	for _, e := range d.engines {
		page.until("worker "+e.worker, fmt.Sprintf(`!!document.querySelector(".worker-name[title='%s']")`, e.worker))
	}
	page.shoot("idle", false)

	requests, tokens, words := 12, 40, func(i int) int { return 120 * (i%10 + 1) }
	if *shots != "" { // the reference burst
		requests, tokens, words = 2000, 200, func(int) int { return 8192 }
	}
	var load errgroup.Group
	for i := range requests {
		load.Go(func() error {
			body := chatBody(cfg.Sim.Model, fmt.Sprintf("%d %s", i, strings.Repeat("word ", words(i))), tokens)
			_, err := streamChat(t.Context(), http.DefaultClient, base, body)
			return err
		})
	}
	if *shots != "" {
		page.until("the middle of a burst", `parseFloat(document.querySelectorAll("#tiles dt + dd")[1].textContent) > 3`) // a second, of the last minute
		page.size(1440, 1300)
		page.shoot("burst", false)
		page.size(1440, 900)
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
		for _, width := range []int64{360, 390, 768, 1024, 1440} {
			page.size(width, 900)
			page.until("itself at the new size", fmt.Sprintf("innerWidth === %d", width))
			if wide := eval[int64](page, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("at %d pixels the page is %d wide: %v", width, wide, eval[[]string](page,
					`[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map(e => e.outerHTML.slice(0, 120))`))
			}
			if width == 390 && theme == "light" {
				page.shoot("narrow", false)
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

// gate is a way to the page that can be shut.
type gate struct {
	*httptest.Server

	shut atomic.Bool
}

// gateTo passes on to a frontend's listener for operators; header, unless it is empty, is one that proxies add.
func gateTo(t *testing.T, d *deployment, header string) *gate {
	t.Helper()
	target, err := url.Parse("http://" + d.proc.admin.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if header != "" {
				r.Out.Header.Set(header, "192.0.2.1")
			}
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.shut.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		g.CloseClientConnections()
		g.Close()
	})
	return g
}

const statusIs = `document.getElementById("status-text").textContent.startsWith(%q)`

func TestThePageSaysWhenItsConnectionIsLost(t *testing.T) {
	cfg := quick()
	cfg.Up.UI = "127.0.0.1:0"
	_, d := startUp(t, cfg)
	g := gateTo(t, d, "")
	page := browse(t, g.URL+"/ui")
	page.until("that it is live", fmt.Sprintf(statusIs, "Live"))
	g.shut.Store(true)
	g.CloseClientConnections()
	page.until("that the connection is lost", fmt.Sprintf(statusIs, "Connection lost"))
	g.shut.Store(false)
	page.until("that it is live again", fmt.Sprintf(statusIs, "Live"))
}

// startUpWithOperatorsKey starts a deployment whose operators need this key.
func startUpWithOperatorsKey(t *testing.T) (d *deployment, key string) {
	t.Helper()
	key = "operator-key-0123456789"
	entry, err := auth.Entry("ops", "", auth.DigestOf(key))
	if err != nil {
		t.Fatal(err)
	}
	cfg := quick()
	cfg.Up.UI = "127.0.0.1:0"
	cfg.API.AdminKeysFile = filepath.Join(t.TempDir(), "admin.yaml")
	if err := auth.Append(cfg.API.AdminKeysFile, entry); err != nil {
		t.Fatal(err)
	}
	_, d = startUp(t, cfg)
	return d, key
}

func TestThePageAsksForAnOperatorsKey(t *testing.T) {
	d, key := startUpWithOperatorsKey(t)
	page := browse(t, gateTo(t, d, "X-Forwarded-For").URL+"/ui")
	page.until("that it is locked", fmt.Sprintf(statusIs, "Locked"))
	try := func(key string) {
		eval[any](page, fmt.Sprintf(`(() => { document.getElementById("key").value = %q; document.getElementById("unlock").requestSubmit(); })()`, key))
	}
	try("wrong-key-0123456789")
	page.until("that the key is wrong", `document.getElementById("unlock-error").textContent.includes("not known")`)
	try(key)
	page.until("that it is live", fmt.Sprintf(statusIs, "Live"))
}
