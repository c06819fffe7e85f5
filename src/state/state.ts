/**
 * What is kept of a container in `<root>/<id>/state.json`. Fields that runc has are named as runc names them: other
 * people's scripts read them.
 */
export interface ContainerState {
  readonly ociVersion: string;
  readonly id: string;
  /** `creating` until create has finished; then the status follows from the process, see status.ts. */
  readonly phase: "creating" | "created";
  /** The container's first process as the host sees it; 0 before it exists. */
  readonly init_process_pid: number;
  /** Field 22 of /proc/<pid>/stat: with the pid it names one process for ever, since pids are used again. */
  readonly init_process_start: number;
  /** RFC 3339 with nanoseconds, UTC. */
  readonly created: string;
  /** Absolute path. */
  readonly bundle: string;
  /** Absolute path. */
  readonly rootfs: string;
  /** Numeric user id of who created it. */
  readonly owner: number;
  readonly annotations: Readonly<Record<string, string>>;
  /** Controller (v1), `name=systemd`, or "" (v2) to the absolute directory of the container's cgroup. */
  readonly cgroup_paths: Readonly<Record<string, string>>;
  /** Who made them. Absent, as the next three, in states of earlier versions. */
  readonly cgroup_manager?: "cgroupfs" | "systemd" | "disabled" | undefined;
  /** The transient unit that the container is in, the slice above it, and whose systemd has them. */
  readonly systemd_unit?: string | undefined;
  readonly systemd_slice?: string | undefined;
  readonly systemd_instance?: "system" | "user" | undefined;
  readonly rootless: boolean;
  /** Without a mount namespace the rootfs is mounted in the caller's: what delete has to unmount. */
  readonly mounted: readonly string[];
  /** The process id of the tsrun that is creating it; 0 afterwards. */
  readonly creator: number;
  /** What start needs besides config.json. */
  readonly start: StartState;
}

export interface StartState {
  /** The environment of the process, complete. */
  readonly env: readonly string[];
  /** Descriptors from 3 on that the process keeps. */
  readonly preserve_fds: number;
  /** The number of the agent's socket, in the agent. */
  readonly agent_socket: number;
  /** The caller's session keyring was kept; exec keeps it too. */
  readonly no_new_keyring: boolean;
  /** What seccomp.bpf is loaded with; absent without linux.seccomp. */
  readonly filter?: { readonly flags: number; readonly notifies: boolean; readonly is_mute: boolean } | undefined;
  /** Capabilities that are left to be set when the filter is loaded: sets of bits, in decimal digits. */
  readonly last_capabilities?:
    | { readonly effective: string; readonly permitted: string; readonly inheritable: string }
    | undefined;
}
