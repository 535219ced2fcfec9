package bus

import (
	"fmt"
	"io"
	"strings"

	"github.com/baton-llm/baton/internal/wire"
)

// PrintPermissions prints what the NATS server's configuration says of baton: an account with a user for
// each role, whose password is an environment variable of the server, or, for one role, what its user may
// do, to put below a user that is known in another way. name (nats.name) is empty or that of the role's
// processes.
func PrintPermissions(out io.Writer, role wire.Role, name string) error {
	if role != "" {
		p, err := PermissionsOf(role, name)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, permissionBlock(p, ""))
		return err
	}
	var b strings.Builder
	b.WriteString("accounts {\n  BATON {\n    jetstream: enabled\n    users: [\n")
	for _, role := range Users() {
		p, err := PermissionsOf(role, "")
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "      {\n        user: %s, password: $NATS_%s_PASSWORD\n%s      }\n", role, strings.ToUpper(string(role)), permissionBlock(p, "        "))
	}
	b.WriteString("    ]\n  }\n}\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// permissionBlock is p in the server's syntax, each line after indent.
func permissionBlock(p Permissions, indent string) string {
	var b strings.Builder
	b.WriteString(indent + "permissions {\n")
	for _, side := range []struct {
		name     string
		subjects []string
	}{{"publish", p.Publish}, {"subscribe", p.Subscribe}} {
		fmt.Fprintf(&b, "%s  %s { allow: [\n", indent, side.name)
		for _, subject := range side.subjects {
			fmt.Fprintf(&b, "%s    %q\n", indent, subject)
		}
		b.WriteString(indent + "  ] }\n")
	}
	if p.Answers {
		b.WriteString(indent + "  allow_responses: true\n")
	}
	b.WriteString(indent + "}\n")
	return b.String()
}
