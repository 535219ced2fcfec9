package telemetry

import "runtime/debug"

// linked is the version that a build without a repository is told: -ldflags "-X …/internal/telemetry.linked=v0.3.1".
var linked string

// Version is the version that the build was told, or the module's as the Go linker recorded it, such as v0.3.1,
// or "devel-" and the commit for a build from a checkout ("-dirty" when it had changes), or "devel" when the
// binary says nothing.
func Version() string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	const short = 12 // digits of a commit that people recognise
	commit := setting(info, "vcs.revision")
	if commit == "" {
		return "devel"
	}
	version := "devel-" + commit[:min(short, len(commit))]
	if setting(info, "vcs.modified") == "true" {
		version += "-dirty"
	}
	return version
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
