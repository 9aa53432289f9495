package backend

func newGemini(c Config) Backend { return nil }
