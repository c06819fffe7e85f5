import { expect, test } from "bun:test";
import { restoringText } from "./restore-values.ts";

test.each([
  ["pids.max", "max\n", "5", "max"],
  ["cpu.max", "max 100000\n", "50000 100000", "max 100000"],
  ["memory.max", "1048576\n", "max", "1048576"],
  ["cpuset.cpus", "\n", "0", "\n"],
  ["cpuset.cpus", "0-1\n", "0", "0-1"],
  ["memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "1", "0"],
  ["memory.oom_control", "oom_kill_disable 1\nunder_oom 0\n", "0", "1"],
  ["io.max", "", "8:0 rbps=5", "8:0 rbps=max wbps=max riops=max wiops=max"],
  ["io.max", "7:0 rbps=1 wbps=max\n8:0 rbps=2 wbps=max\n", "8:0 wbps=5", "8:0 rbps=2 wbps=max"],
  ["io.weight", "default 100\n8:0 50\n", "default 200", "default 100"],
  ["io.weight", "default 100\n", "200", "default 100"],
  ["io.weight", "default 100\n", "8:0 70", "8:0 default"],
  ["io.bfq.weight", "default 100\n", "200", "default 100"],
  ["io.latency", "", "8:0 target=10", "8:0 target=0"],
  ["blkio.bfq.weight", "100\n", "200", "100"],
  ["blkio.bfq.weight_device", "default 100\n", "8:0 200", "8:0 0"],
  ["blkio.throttle.read_bps_device", "", "8:0 1000", "8:0 0"],
  ["blkio.throttle.read_bps_device", "18:0 1\n8:0 2000\n", "8:0 1000", "8:0 2000"],
  ["net_prio.ifpriomap", "lo 0\neth0 3\n", "eth0 5", "eth0 3"],
  ["rdma.max", "mlx4_0 hca_handle=2 hca_object=max\n", "mlx4_0 hca_object=1", "mlx4_0 hca_handle=2 hca_object=max"],
])("%s: %p, told %p, is told %p", (file, before, written, expected) => {
  expect(restoringText(file, before, written)).toBe(expected);
});
