package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Sources says where each leaf's value came from, by path: "default", "baton.yaml:3",
// "BATON_PREFILL_SLOTS" or "--prefill.slots".
type Sources map[string]string

// Load fills the struct that dst points to, whose present values are the defaults. An empty file
// means none. env is os.LookupEnv or a test's; flags hold texts by path, as Extract returns them.
// Every fault of every source is reported at once; dst is then partly filled and not to be used.
// Load does not validate: the packages that own the settings do.
func Load(dst any, file string, env func(string) (string, bool), flags map[string]string) (Sources, error) {
	leaves := Leaves(dst)
	sources := make(Sources, len(leaves))
	for _, leaf := range leaves {
		sources[leaf.Path] = "default"
	}
	var faults []error
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		faults = append(faults, loadYAML(leaves, sources, file, text))
	}
	for _, leaf := range leaves {
		if text, ok := env(leaf.Env); ok {
			if err := leaf.set(text); err != nil {
				faults = append(faults, fmt.Errorf("variable %s (%s): %w", leaf.Env, leaf.Path, err))
			}
			sources[leaf.Path] = leaf.Env
		}
		if text, ok := flags[leaf.Path]; ok {
			if err := leaf.set(text); err != nil {
				faults = append(faults, fmt.Errorf("flag %s: %w", leaf.Flag, err))
			}
			sources[leaf.Path] = leaf.Flag
		}
	}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		if _, known := sources[path]; !known {
			faults = append(faults, unknownFlag(path, leaves))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return sources, nil
}

// serviceLink matches what Kubernetes sets in every container next to a Service whose name starts
// with baton; nobody wrote those, so they are no mistakes.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// CheckEnv reports the BATON_* variables of environ (NAME=value, as os.Environ returns them) that
// set no leaf of dst: a misspelt variable would otherwise be silently ignored. Names in also are
// allowed; so are those that Kubernetes makes for Services.
func CheckEnv(dst any, environ []string, also ...string) error {
	allowed := slices.Clone(also)
	for _, leaf := range Leaves(dst) {
		allowed = append(allowed, leaf.Env)
	}
	var faults []error
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "BATON_") || slices.Contains(allowed, name) || serviceLink.MatchString(name) {
			continue
		}
		faults = append(faults, fmt.Errorf("variable %s sets nothing%s", name, suggest(name, allowed)))
	}
	return errors.Join(faults...)
}

// Extract takes the settings out of a command line, before the command's own flags are parsed:
// --a.b=value and --a.b value, and --a.b alone for a bool. rest is what remains, in order; values
// are by path. A later flag wins over an earlier one, but lists grow. What follows "--" is not
// looked at. A flag with a dot in its name that is no leaf is an error.
func Extract(args []string, leaves []Leaf) (rest []string, values map[string]string, err error) {
	values = make(map[string]string)
	var faults []error
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		flag, isFlag := strings.CutPrefix(args[i], "--")
		name, value, hasValue := strings.Cut(flag, "=")
		at := slices.IndexFunc(leaves, func(l Leaf) bool { return l.Path == name })
		switch {
		case !isFlag || (at < 0 && !strings.Contains(name, ".")):
			rest = append(rest, args[i])
			continue
		case at < 0:
			faults = append(faults, unknownFlag(name, leaves))
			continue
		case hasValue:
		case leaves[at].Kind == Bool:
			value = "true"
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "--"):
			i++
			value = args[i]
		default:
			faults = append(faults, fmt.Errorf("flag --%s needs a value: %s", name, leaves[at].Kind.form()))
			continue
		}
		if before, again := values[name]; again && leaves[at].Kind == List {
			value = before + "," + value
		}
		values[name] = value
	}
	return rest, values, errors.Join(faults...)
}

func unknownFlag(path string, leaves []Leaf) error {
	flags := make([]string, 0, len(leaves))
	for _, leaf := range leaves {
		flags = append(flags, leaf.Flag)
	}
	return fmt.Errorf("unknown flag --%s%s", path, suggest("--"+path, flags))
}
