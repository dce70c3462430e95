// Reports Ready with Go's standard library alone, as azure-ready and its like do: one static
// program. It stands in for them in `scripts/bench --against go`. The facts are those of
// agent/README.md.
package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const wireserver = "http://168.63.129.16/machine/"

type goalState struct {
	Incarnation string `xml:"Incarnation"`
	Container   string `xml:"Container>ContainerId"`
	Instance    string `xml:"Container>RoleInstanceList>RoleInstance>InstanceId"`
}

type health struct {
	XMLName     xml.Name `xml:"Health"`
	Incarnation string   `xml:"GoalStateIncarnation"`
	Container   string   `xml:"Container>ContainerId"`
	Instance    string   `xml:"Container>RoleInstanceList>Role>InstanceId"`
	State       string   `xml:"Container>RoleInstanceList>Role>Health>State"`
}

var client = http.Client{Timeout: 30 * time.Second}

// ask tries until the wireserver accepts.
func ask(method, component string, body []byte) []byte {
	for {
		answer, err := once(method, component, body)
		if err == nil {
			return answer
		}
		fmt.Fprintln(os.Stderr, err)
		time.Sleep(time.Second)
	}
}

func once(method, component string, body []byte) ([]byte, error) {
	request, err := http.NewRequest(method, wireserver+"?comp="+component, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("x-ms-version", "2012-11-30")
	request.Header.Set("x-ms-agent-name", "go")
	if body != nil {
		request.Header.Set("Content-Type", "text/xml; charset=utf-8")
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 400 {
		return nil, fmt.Errorf("%s %s: %s", method, component, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func main() {
	var state goalState
	if err := xml.Unmarshal(ask("GET", "goalstate", nil), &state); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	report, err := xml.Marshal(health{
		Incarnation: state.Incarnation, Container: state.Container,
		Instance: state.Instance, State: "Ready",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ask("POST", "health", append([]byte(xml.Header), report...))
}
