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
  for (const [written, value] of Object.entries(config.linux?.sysctl ?? {})) {
    const refusal = refusalOf(dotted(written), (type) => hasNamespace(config, type));
    const pointer = `/linux/sysctl/${written.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (refusal !== undefined) addFault(report, pointer, refusal);
    else if (written.split(/[./]/).includes("..") || /[\0]/.test(written + value) || written === "") {
      addFault(report, pointer, `sysctl ${JSON.stringify(written)} is not a name`);
    }
  }
};

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
  if (/[./]/.exec(name)?.[0] !== "/") return name;
  return name.replace(/[./]/g, (separator) => (separator === "/" ? "." : "/"));
}
