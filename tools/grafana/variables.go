package grafana

// Templating holds the choices at the top of a page.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is one choice.
type Variable struct {
	Name       string     `json:"name"`
	Label      string     `json:"label"`
	Type       string     `json:"type"`
	Datasource *SourceRef `json:"datasource,omitempty"`
	Query      any        `json:"query"`
	Definition string     `json:"definition,omitempty"`
	Refresh    int        `json:"refresh"` // 1: when the page is opened; 2: also when its time changes
	Sort       int        `json:"sort,omitempty"`
	Multi      bool       `json:"multi"`
	IncludeAll bool       `json:"includeAll"`
	AllValue   string     `json:"allValue,omitempty"`
	Current    *Choice    `json:"current,omitempty"`
	Options    []Choice   `json:"options"`
}

// Choice is the value a variable has before anyone chose.
type Choice struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// SourceRef names the Prometheus that is asked: always the variable, so that a
// page works wherever it is imported.
type SourceRef struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type labelQuery struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

func chosenSource() *SourceRef { return &SourceRef{Type: "prometheus", UID: "${datasource}"} }

// where are the variables of every page: which Prometheus, job and instance.
func where(more ...Variable) []Variable {
	return append([]Variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1, Options: []Choice{}},
		labelValues("job", "Job", `label_values(penstock_build_info, job)`),
		labelValues("instance", "Instance", `label_values(penstock_build_info{job=~"$job"}, instance)`),
	}, more...)
}

// labelValues lets several values be chosen; all of them to begin with.
func labelValues(name, label, query string) Variable {
	return Variable{
		Name: name, Label: label, Type: "query", Datasource: chosenSource(),
		Query: labelQuery{Query: query, RefID: "variable-" + name}, Definition: query,
		Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".*",
		Current: &Choice{Text: "All", Value: "$__all"}, Options: []Choice{},
	}
}

func backendVariable() Variable {
	return labelValues("backend", "Backend", `label_values(penstock_runs_started_total{job=~"$job",instance=~"$instance"}, backend)`)
}

func clientVariable() Variable {
	return labelValues("client", "Client", `label_values(penstock_runs_started_total{job=~"$job",instance=~"$instance"}, client)`)
}
