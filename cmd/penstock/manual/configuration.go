package manual

import (
	"strings"

	"penstock/config"
)

// configuration is penstock.toml(5), from the schema that reads the file.
func (m manual) configuration() page {
	const name, section = "penstock.toml", "5"
	r := newPage(name, section, m.date, m.source)
	r.section("NAME")
	r.lines(escaped(name) + ` \- configuration of ` + escaped("penstock"))
	for _, s := range configurationSections {
		s.write(r)
	}
	r.section("KEYS")
	table := "none yet"
	for _, k := range config.AllKeys() {
		in, key := tableOf(k.Name)
		if in != table {
			table = in
			tableHead(r, table)
		}
		if table != "backends.*.limits" { // the keys of [limits] once more
			keyItem(r, key, k)
		}
	}
	r.section("EXAMPLE")
	r.example(configurationExample)
	r.section("SEE ALSO")
	r.lines(reference("penstock", commandSection) + ",\n" + reference("penstock-check", commandSection) + ",\n" + reference("penstock-config", commandSection))
	return page{name, section, r.String()}
}

// tableOf divides a dotted key in its table and the name in it; variables to
// set are a table within their backend's.
func tableOf(key string) (table, name string) {
	at := strings.LastIndex(strings.TrimSuffix(key, ".*"), ".")
	return key[:max(at, 0)], key[at+1:]
}

func tableHead(r *roff, table string) {
	heading := "At the top"
	if table != "" {
		heading = "[" + strings.ReplaceAll(table, "*", "NAME") + "]"
	}
	r.subsection(heading)
	r.text(prose(tableText[table]))
}

func keyItem(r *roff, name string, k config.Key) {
	var term string
	if variable, ok := strings.CutSuffix(name, ".*"); ok {
		term = literal(variable+".") + placeholder("VARIABLE")
	} else {
		term = literal(name)
	}
	meaning := sentence(k.Help)
	if len(k.OneOf) > 0 {
		var values []string
		for _, v := range k.OneOf {
			values = append(values, literal(k.Literal(v)))
		}
		meaning += " One of " + strings.Join(values, ", ") + "."
	}
	if k.Default != "" {
		meaning += " Default: " + literal(k.Literal(k.Default)) + "."
	}
	r.item(term+" ("+escaped(k.Type)+")", meaning)
}
