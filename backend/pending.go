package backend

func newKimi(c Config) Backend     { return nil }
func newOpencode(c Config) Backend { return nil }
func newGemini(c Config) Backend   { return nil }
func newACP(c Config) Backend      { return nil }
