package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"faultline/internal/farm"
)

// alone is a network namespace without any network, for the daemon to be started in.
func alone(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		farm.Skip(t, "only root may make a network namespace")
	}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
}

// The example on a host without network: the vantage is said to be sick, and nobody is paged.
func TestNoNetwork(t *testing.T) {
	attr := alone(t)
	text, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "control.sock")
	config := filepath.Join(dir, "faultline.toml")
	edited := strings.NewReplacer("# control_socket = \"\"", fmt.Sprintf("control_socket = %q", socket),
		"# state_dir = \"\"", fmt.Sprintf("state_dir = %q", dir), "# quiet_after_start = \"1m\"", "quiet_after_start = \"1s\"",
		"# interval = \"30s\"", "interval = \"5s\"", "# timeout = \"10s\"", "timeout = \"2s\"",
		"# resolvers = [\"system\"]", "resolvers = [\"192.0.2.53\"]").Replace(string(text))
	if err := os.WriteFile(config, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, attr, "run", "--config", config)
	eventually(t, 20*time.Second, "the vantage to be called sick", func() bool {
		status, _ := control(t, socket, http.MethodGet, "/-/healthy")
		return status == http.StatusOK && metric(t, socket, "faultline_probe_results_total", `fault="local"`) >= 2*28 &&
			strings.Contains(c.text(), "vantage here is sick")
	})
	if got := metric(t, socket, "faultline_vantage_healthy"); got != 0 {
		t.Errorf("got faultline_vantage_healthy %v, want 0", got)
	}
	if _, text := control(t, socket, http.MethodGet, "/api/v1/incidents"); !strings.Contains(text, `"total":0`) {
		t.Errorf("got incidents, want none: %s", text)
	}
	if strings.Contains(c.text(), `"event":"page"`) {
		t.Error("somebody was paged")
	}
	c.stop()
}

// Some hundred sites of a test list are probed once in every interval, evenly.
func TestListIsSpreadEvenly(t *testing.T) {
	attr := alone(t)
	const sites, interval = 400, 4 * time.Second
	dir := t.TempDir()
	var list strings.Builder
	list.WriteString("url,category_code,category_description,date_added,source,notes\n")
	for i := range sites {
		fmt.Fprintf(&list, "https://site%d.example/,NEWS,News Media,2019-07-02,test,\n", i)
	}
	socket := filepath.Join(dir, "control.sock")
	config := fmt.Sprintf(`[daemon]
listen = ""
state_dir = %q
control_socket = %q
[alert]
anchors = []
[[vantage]]
name = "here"
resolvers = ["192.0.2.53"]
[[site_list]]
file = "hk.csv"
format = "citizenlab"
interval = %q
timeout = "1s"
`, dir, socket, interval)
	for name, text := range map[string]string{"hk.csv": list.String(), "faultline.toml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startChild(t, attr, "run", "--config", filepath.Join(dir, "faultline.toml"))
	scheduled := func() float64 { return metric(t, socket, "faultline_schedule_lag_seconds_count") }
	eventually(t, 20*time.Second, "three intervals' probes", func() bool { return scheduled() >= 3*sites })
	below := 0.0
	for tenth := 1; tenth <= 10; tenth++ {
		le := fmt.Sprintf(`le="%.1f"`, float64(tenth)/10)
		if tenth == 10 {
			le = `le="+Inf"`
		}
		upTo := metric(t, socket, "faultline_schedule_phase_ratio_bucket", le)
		if share := (upTo - below) / scheduled(); share < 0.05 || share > 0.16 {
			t.Errorf("the %d. tenth of the interval has %.0f %% of the starts, want about 10 %%", tenth, share*100)
		}
		below = upTo
	}
}
