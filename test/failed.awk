# Of a `go test -v` log: the last lines of each test that failed, without the daemon's own log,
# and whatever ended the run as a whole. A CI shows only the end of a long output.
/^=== (RUN|CONT|NAME|PAUSE)/ { test = $3; next }
/^ *--- FAIL: / { print; show(substr($3, 1)); next }
/^ *--- (PASS|SKIP): / { delete lines[$3]; delete count[$3]; next }
/^(panic|fatal error|FAIL|guest|lab)|DATA RACE/ { print substr($0, 1, 400); next }
/time=20[0-9][0-9]-|"time":"/ { next }
{ lines[test, ++count[test]] = substr($0, 1, 400) }
function show(name,   i) {
	for (i = count[name] > 25 ? count[name] - 24 : 1; i <= count[name]; i++) print lines[name, i]
}
