import type { ContainerState } from "../state/state.ts";
import type { Status } from "../state/status.ts";

/** The state of a container (runtime.md "State") as hooks get it, in JSON, on their standard input. */
export interface StateDocument {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: Exclude<Status, "paused">;
  /** Required as long as there is a process; afterwards its id may be somebody else's. */
  readonly pid?: number;
  readonly bundle: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export function stateDocument(state: ContainerState, status: StateDocument["status"]): StateDocument {
  const pid = status === "stopped" ? 0 : state.init_process_pid;
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    status,
    ...(pid > 0 ? { pid } : {}),
    bundle: state.bundle,
    annotations: state.annotations,
  };
}

/** What `state` and `list` show of a container: runc's properties in runc's order. */
export interface ContainerView {
  readonly ociVersion: string;
  readonly id: string;
  /** 0 once stopped. */
  readonly pid: number;
  readonly status: Status;
  readonly bundle: string;
  readonly rootfs: string;
  readonly created: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly owner: string;
}

export function containerView(state: ContainerState, status: Status, owner: string): ContainerView {
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    pid: status === "stopped" ? 0 : state.init_process_pid,
    status,
    bundle: state.bundle,
    rootfs: state.rootfs,
    created: state.created,
    ...(Object.keys(state.annotations).length > 0 ? { annotations: state.annotations } : {}),
    owner,
  };
}

/** The name of a user in the text of /etc/passwd (passwd(5)); `#1000` when it has none, as runc writes it. */
export function userName(passwd: string, uid: number): string {
  for (const line of passwd.split("\n")) {
    const [name, , id] = line.split(":");
    if (id === String(uid) && name !== undefined && name !== "") return name;
  }
  return `#${uid}`;
}
