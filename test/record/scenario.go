package main

// scenario is one thing to record. The markers are those of test/model.
type scenario struct {
	name   string
	prompt string
	before string // an earlier turn of the same session, not recorded
	system string
	retry  bool // with the CLI's own retries on
	kill   int  // SIGKILL after so many text events, and the last line cut in half
}

func table() []scenario {
	return []scenario{
		{name: "text", prompt: "SCN=text N=4"},
		{name: "system", prompt: "SCN=text N=2", system: "Answer in the voice of a lighthouse keeper."},
		{name: "think", prompt: "SCN=think N=3"},
		{name: "tool", prompt: "SCN=tool CMD{{echo from-the-tool}}"},
		{name: "empty", prompt: "SCN=empty"},
		{name: "cut", prompt: "SCN=cut N=3"},
		{name: "refusal", prompt: "SCN=refusal"},
		{name: "refusal-text", prompt: "SCN=refusal N=3"},
		{name: "halves", prompt: "SCN=halves N=3"},
		{name: "e400", prompt: "SCN=e400"},
		{name: "e401", prompt: "SCN=e401"},
		{name: "e429", prompt: "SCN=e429"},
		{name: "e500", prompt: "SCN=e500"},
		{name: "mid", prompt: "SCN=mid N=3"},
		{name: "abrupt", prompt: "SCN=abrupt N=3"},
		{name: "void", prompt: "SCN=void N=3", retry: true},
		{name: "void-event", prompt: "SCN=void N=3 BREAK=event", retry: true},
		{name: "resume", prompt: "SCN=text N=2 RECALL", before: "SCN=text N=2 REMEMBER{{heron}}"},
		{name: "killed", prompt: "SCN=long N=40 DELAY=100", kill: 3},
	}
}
