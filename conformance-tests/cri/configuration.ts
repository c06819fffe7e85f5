import { existsSync } from "node:fs";
import { privatePlaces } from "../lib/containerd.ts";
import type { Runtime } from "../lib/runtimes.ts";
import { snippet } from "../lib/snippet.ts";

/** The handler that a RuntimeClass names, as the documentation has it. Behind it is the one runtime or the other. */
export const HANDLER = "tsrun";

/** The subnet of the pods; the engines of both runtimes have it, each in a network namespace of its own. */
const SUBNET = "10.99.0.0/16";

/**
 * containerd's configuration: what the documentation tells to write, and what keeps it apart from the machine's. The default
 * runtime fails: what runs, runs with the handler. Without CAP_SYS_RESOURCE nobody may lower oom_score_adj, hence
 * restrict_oom_score_adj.
 */
export function configuration(home: string, runtime: Runtime, pause: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const handler = snippet("/etc/containerd/config.toml")
    .replace("version = 2\n", "")
    .replace(/BinaryName = .*/, `BinaryName = "${runtime.path}"\nRoot = "${home}/runtime"`);
  return `${privatePlaces(home)}[${cri}]
  sandbox_image = "${pause}"
  disable_apparmor = ${!existsSync("/sys/kernel/security/apparmor")}
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[${cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "${home}/cni"
[${cri}.registry]
  config_path = "${home}/certs"
[${cri}.containerd]
  default_runtime_name = "none"
[${cri}.containerd.runtimes.none]
  runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.none.options]
  BinaryName = "/bin/false"
${handler}
`;
}

/** A bridge, ports of the host, and the loopback interface: what a node of Kubernetes has at the least. */
export function cniConfiguration(home: string): string {
  return JSON.stringify({
    cniVersion: "0.4.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        bridge: "pods0",
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: `${home}/ipam`,
          ranges: [[{ subnet: SUBNET }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
}
