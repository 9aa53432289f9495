package house

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

// retired are names for which the field has a word, each with that word. A name is refused where it is declared: as a
// function, method, type, field, constant, variable or parameter, or as a file. "" is every directory.
var retired = map[string]map[string]string{
	"": {
		"newborn": "child, childSpec", "fate": "childStatus", "foundling": "orphan", "unborn": "abortStart", "bequeath": "saveCheckpoint",
		"heir": "handover", "vigil": "stallDetector", "prospect": "candidate", "persuade": "stopGracefully", "doubts": "groupHealth",
		"inDoubt": "failing", "seal": "sandbox", "bear": "forkExec", "said": "stdinLog", "speaker": "stdinWriter", "spoiled": "tampered",
		"strangers": "errForeignProcs", "pen": "printer", "harmless": "sanitize",
	},
	"config": {
		"span": "duration", "truth": "boolean", "words": "argv", "near": "suggest", "door": "listen", "put": "set",
		"reject": "fail", "fault": "hint.Error", "layers": "loader", "builder": "loader",
	},
	"cmd/penstock": {
		"door": "connection", "screen": "terminal", "estate": "dryRunState", "barred": "blockedAt",
		"checkup": "check.Report", "asking": "runCall",
	},
	"server": {
		"exchange": "RequestInfo", "wrap": "Middleware", "guard": "OriginCheck", "account": "logRequest", "told": "logAttrs",
		"knocked": "hasPending", "pulse": "monitor", "jam": "stuckSlots", "sieve": "spanFilter", "outline": "answerSummary",
		"agent": "backend", "agents": "backends", "ground": "HandoverState", "standDown": "drain", "settle": "quiesce",
		"unhurried": "WaitForReader", "flatten": "Prompt", "ceiling": "limitFollower",
	},
	"run": {
		"will": "checkpoint", "watcher": "supervisor", "trouble": "hostError", "blameHost": "hostError", "pulse": "spool.Broadcast",
		"vital": "activity", "stillness": "idleWindow", "growth": "spool.WatchFiles", "turns": "sessionLocks", "place": "workDir",
		"leftover": "recoverRun", "past": "finishedRun", "depart": "detach", "mute": "opaqueBackend", "birth": "start", "told": "logAttrs",
		"life": "state", "outlook": "CheckDir",
	},
	"backend": {"sieve": "filter", "adapter": "backend"},
	"cgroup": {
		"observed": "usageHistory", "way": "rootSource", "ways": "rootSources", "site": "rootSite", "place": "location", "look": "probe",
		"take": "acquire", "setUp": "initRoot", "settle": "moveDaemonToLeaf", "takeBack": "rollback", "mend": "restorePerms",
		"mended": "WithPerms", "descend": "walkTree", "up": "post", "readings": "StatReader", "parsed": "Optional", "flat": "Keyed",
		"stall": "psiLine", "leave": "Detach", "swept": "SweepResult", "killer": "killFD", "keepKill": "OpenKill", "sparing": "stopSpares",
		"settings": "groupLimits", "closedError": "Refusal", "livesOn": "hasSurvivors", "told": "warned",
	},
	"admit": {
		"moved": "OnPosition", "setAside": "ReserveOutside", "hold": "Pause", "held": "paused", "judge": "PauseRule",
		"giveUp": "withdraw", "settle": "collect", "patience": "maxWait", "book": "account", "giveBack": "releaseUnused",
	},
	"metrics": {"gate": "admission", "cage": "isolation"},
	"sandbox": {"aside": "dupAbove", "birth": "startResult", "cover": "mask", "coverWrites": "maskReadonly", "hider": "MaskPaths", "narrow": "dropPrivileged"},
	"spawn":   {"birth": "startResult", "doorGroups": "privilegedGroups", "overdue": "startTimeout", "successor": "Reexec", "victims": "protectedPIDs"},
	"spool":   {"beat": "signal", "growth": "fileWatch", "pulse": "broadcast"},
	"systemd": {"given": "Inherited", "take": "Inherit", "isHeir": "IsHandover", "place": "locate", "holder": "CheckFree"},
}

func TestRetiredWords(t *testing.T) {
	for _, s := range sources(t) {
		names := declared(s.file)
		names = append(names, strings.TrimSuffix(path.Base(s.path), ".go"))
		for _, name := range names {
			for dir, words := range retired {
				if dir != "" && s.pkg != dir && !strings.HasPrefix(s.pkg, dir+"/") {
					continue
				}
				if word, ok := words[lowerFirst(name)]; ok {
					t.Errorf("%s declares %s: the field's word is %s", s.path, name, word)
				}
			}
		}
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// declared are the names that a file declares, at any depth.
func declared(f *ast.File) []string {
	var names []string
	add := func(ids ...*ast.Ident) {
		for _, id := range ids {
			names = append(names, id.Name)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			add(n.Names...)
		case *ast.Field:
			add(n.Names...)
		case *ast.AssignStmt:
			if n.Tok.String() == ":=" {
				for _, left := range n.Lhs {
					if id, ok := left.(*ast.Ident); ok {
						add(id)
					}
				}
			}
		}
		return true
	})
	return names
}
