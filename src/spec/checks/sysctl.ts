import { addFault, type ConfigCheck, hasNamespace } from "./report.ts";

const IPC = [
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
];

/** Only what a namespace of the container's own keeps from the host. Rules and texts are runc's. */
export const sysctlsAreNamespaced: ConfigCheck = (config, report) => {
  for (const written of Object.keys(config.linux?.sysctl ?? {})) {
    const refusal = refusalOf(dotted(written), (type) => hasNamespace(config, type));
    const pointer = `/linux/sysctl/${written.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (refusal !== undefined) addFault(report, pointer, refusal);
    else if (dotted(written).split(".").some(isNoName))
      addFault(report, pointer, `found ${JSON.stringify(written)}`, "a name such as net.ipv4.ip_forward");
  }
};

/** Empty, `.` or `..` (whose dots the conversion has made slashes): would lead to another file than the rules looked at. */
function isNoName(part: string): boolean {
  return part === "" || part === "/" || part === "//";
}

function refusalOf(name: string, has: (type: "ipc" | "network" | "uts" | "user") => boolean): string | undefined {
  const sysctl = `sysctl ${JSON.stringify(name)}`;
  if (IPC.includes(name) || name.startsWith("fs.mqueue.")) {
    return has("ipc") ? undefined : `${sysctl} is not allowed in the hosts ipc namespace`;
  }
  if (name.startsWith("net.")) return has("network") ? undefined : `${sysctl} not allowed in host network namespace`;
  if (name.startsWith("user.")) return has("user") ? undefined : "setting ucounts without a user namespace not allowed";
  if (name === "kernel.domainname" && has("uts")) return undefined;
  if (name === "kernel.hostname" && has("uts")) {
    return `${sysctl} is not allowed as it conflicts with the OCI "hostname" field`;
  }
  return `${sysctl} is not in a separate kernel namespace`;
}

/**
 * sysctl(8) takes `net/ipv4/conf/eth0.100/mtu` for `net.ipv4.conf.eth0/100.mtu`: whichever separator comes first is the
 * separator, and the other stands for what the separator would be in a name.
 */
function dotted(name: string): string {
  const slash = name.indexOf("/");
  const dot = name.indexOf(".");
  if (slash === -1 || (dot !== -1 && dot < slash)) return name;
  return name.replace(/[./]/g, (separator) => (separator === "/" ? "." : "/"));
}
