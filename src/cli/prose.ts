import type { CommandName } from "./options.ts";

/** What help and man page say of a command besides its options. */
export interface Prose {
  /** As in the list of commands: lower case, without a final period. */
  readonly summary: string;
  /** The arguments as they follow the options: `ID [SIGNAL]`. */
  readonly args: string;
  readonly paragraphs: readonly string[];
  /** Command line, and what it does. */
  readonly examples: readonly (readonly [string, string])[];
  /** Exit status where it is not just 0 or 1. */
  readonly status?: string;
}

const ranStatus =
  "The exit status of the container's process, or 128 + N when signal N ended it. 1 when the container could not be started.";

function lifecycleProse() {
  return {
    create: {
      summary: "create a container; its program waits for start",
      args: "ID",
      paragraphs: [
        "Reads the bundle's config.json, checks all of it, and makes the container: namespaces, file system, cgroup, hooks. The program itself is not run until tsrun start. Nothing is left behind when it fails.",
        "The container's process inherits standard input, output and error of tsrun create. With process.terminal the master end of the terminal is sent to --console-socket.",
        "With --systemd-cgroup systemd makes the cgroup: a scope PREFIX-NAME.scope for a cgroupsPath of SLICE:PREFIX:NAME; without root, the user's own systemd. Annotations org.systemd.property.NAME set its properties, with values such as true, 'text' or uint64 5.",
        "ID is made of letters, digits, and _ + - . and names one container below --root.",
      ],
      examples: [
        ["tsrun create --bundle /bundles/web web", "create container web from the bundle in /bundles/web"],
        [
          "tsrun create --pid-file /run/web.pid web",
          "use the bundle in the current directory and write the process id",
        ],
      ],
    },
    start: {
      summary: "run the program of a created container",
      args: "ID",
      paragraphs: [
        "Runs the startContainer hooks in the container, then the program of config.json, then the poststart hooks. Fails when the container has been started before.",
      ],
      examples: [["tsrun start web", "run what tsrun create web has prepared"]],
    },
    run: {
      summary: "create and start a container, and wait for it",
      args: "ID",
      paragraphs: [
        "The same as tsrun create and tsrun start; then, without --detach, waits until the container's process has ended, passes signals on to it, deletes the container (not with --keep) and ends with the same status.",
        "With process.terminal and without --detach, tsrun's own terminal is connected to the container's.",
      ],
      examples: [
        ["tsrun run --bundle /bundles/web web", "run container web in the foreground"],
        ["tsrun run -d --pid-file /run/web.pid web", "leave it running in the background"],
      ],
      status: ranStatus,
    },
    state: {
      summary: "print the state of a container as JSON",
      args: "ID",
      paragraphs: [
        "Prints the state that the OCI runtime specification defines: ociVersion, id, status (creating, created, running, stopped or paused), pid, bundle, annotations; besides rootfs, created and owner.",
      ],
      examples: [["tsrun state web", "print the state of container web"]],
    },
    kill: {
      summary: "send a signal to a container",
      args: "ID [SIGNAL]",
      paragraphs: [
        "Sends SIGNAL, TERM by default, to the container's first process. SIGNAL is a number or a name in any case, with or without SIG: 9, KILL, sigkill.",
        "The container's other processes end with its first one when it has a process id namespace of its own. When it has none, KILL is for all of them. With --all every signal is, and a container that has stopped is no error.",
      ],
      examples: [
        ["tsrun kill web", "ask container web to end"],
        ["tsrun kill --all web KILL", "kill each of its processes"],
      ],
    },
    delete: {
      summary: "delete a container that has ended",
      args: "ID",
      paragraphs: [
        "Removes the container's cgroup and its state and runs the poststop hooks. With --force a container that still runs is killed first, what an interrupted tsrun create has left is removed too, and it is no error when there is no such container.",
      ],
      examples: [
        ["tsrun delete web", "delete container web, which has ended"],
        ["tsrun delete --force web", "kill and delete it, whatever its state"],
      ],
    },
    exec: {
      summary: "run one more process in a container",
      args: "ID [COMMAND [ARG...]]",
      paragraphs: [
        "Runs COMMAND in the namespaces and the cgroup of the container's first process. User, environment, capabilities and the rest are those of config.json unless options say otherwise. With --process, all of it comes from FILE and COMMAND is left out.",
        "Options end at ID: what follows belongs to COMMAND.",
      ],
      examples: [
        ["tsrun exec -t web sh", "a shell in container web"],
        ["tsrun exec --user 1000:1000 web id -u", "run id -u as user 1000"],
      ],
      status:
        "The exit status of the process, or 128 + N when signal N ended it. 255 when it could not be started. With --detach 0 once it runs.",
    },
  } as const satisfies Partial<Record<CommandName, Prose>>;
}

function controlProse() {
  return {
    pause: {
      summary: "stop all processes of a container for a while",
      args: "ID",
      paragraphs: [
        "Freezes the container's cgroup: no process in it runs until tsrun resume. They notice nothing but the time that has passed.",
        "A process that waits for a device or a network file system may keep the container from freezing. After 10 seconds tsrun gives up, lets every process go on, and says which one it was.",
      ],
      examples: [["tsrun pause web", "pause container web"]],
    },
    resume: {
      summary: "let a paused container go on",
      args: "ID",
      paragraphs: ["Thaws the container's cgroup. A container that is not paused is an error."],
      examples: [["tsrun resume web", "let container web go on"]],
    },
    update: {
      summary: "change the limits of a container",
      args: "ID",
      paragraphs: [
        "Changes what options and FILE name and leaves the rest as it is. Options win over FILE. FILE is JSON in the form of linux.resources of config.json. 0 and an empty text change nothing, except for pids and cpu idle; sizes are bytes, or a number with a unit (512m, 2GiB).",
        "The kernel may refuse a value: a memory limit that cannot be reached, processors that do not exist. Then what has been changed before is changed back, and the error names the value.",
        "Rules for devices change only when FILE has the property devices.",
      ],
      examples: [
        ["tsrun update --memory 512m --memory-swap 1g web", "more memory for container web"],
        ["tsrun update --cpu-quota 50000 --cpu-period 100000 web", "half a processor"],
        [`echo '{"pids": {"limit": 100}}' | tsrun update --resources - web`, "read new values from a pipe"],
      ],
    },
    ps: {
      summary: "list the processes of a container",
      args: "ID [PS-OPTION...]",
      paragraphs: [
        "Runs ps(1) on the host with the options that follow ID, -ef without any, and prints its heading and those lines that are about processes of the container. The options must make ps(1) print a column PID.",
        "With --format json, prints the process ids as the host sees them; ps(1) is not needed for that.",
      ],
      examples: [
        ["tsrun ps web", "list the processes of container web"],
        ["tsrun ps web -o pid,rss,args", "list them with the memory that each takes"],
        ["tsrun ps --format json web", "print their ids for programs"],
      ],
    },
    events: {
      summary: "print what a container uses, and when it is out of memory",
      args: "ID",
      paragraphs: [
        'Prints JSON, an object a line: of type "stats" after each interval, with what the container\'s cgroups count of processor time, memory, processes, block devices and huge pages, and of pressure where the kernel measures it (cgroup v2); of type "oom" when the container has reached its memory limit (v1) or when one of its processes was killed for want of memory (v2).',
        "Ends when the container's first process has ended. With --stats, prints one line and ends at once.",
      ],
      examples: [
        ["tsrun events web", "print a line every five seconds"],
        ["tsrun events --stats web", "print what container web has used until now"],
      ],
    },
  } as const satisfies Partial<Record<CommandName, Prose>>;
}

function otherProse() {
  return {
    list: {
      summary: "list containers",
      args: "",
      paragraphs: ["Lists the containers below --root, as a table or as JSON."],
      examples: [
        ["tsrun list", "a table of all containers"],
        ["tsrun list --format json", "the same for programs"],
        ["tsrun --root /run/containerd/runc/k8s.io list -q", "the ids of another caller's containers"],
      ],
    },
    spec: {
      summary: "write a config.json to start from",
      args: "",
      paragraphs: [
        "Writes a complete config.json, with a shell as its program, into the bundle. A file that exists is never overwritten.",
      ],
      examples: [
        ["tsrun spec --bundle /bundles/web", "write /bundles/web/config.json"],
        ["tsrun spec --rootless", "write one that works without root"],
      ],
    },
    features: {
      summary: "print what this build supports, as JSON",
      args: "",
      paragraphs: [
        "Prints the features structure of the OCI runtime specification. Engines read it to know which mount options, namespaces and capabilities they may ask for.",
      ],
      examples: [["tsrun features", "print the features"]],
    },
    try: {
      summary: "run a command in a throw-away container, without an image",
      args: "[COMMAND [ARG...]]",
      paragraphs: [
        "The container's file system is the host's, with a layer above it that takes all changes and is thrown away at the end (or kept, with --keep). It has namespaces of its own and no network unless --network host is given. COMMAND is a shell by default.",
        "/tmp and /run are new and empty; the rest of the host's files are there to be read as far as the caller may. It can make no device files, and no program in it gains privileges.",
        "With --keep, what has changed is listed on standard error at the end: A PATH for what was added, C for what was changed, D for what was deleted. The files stay in DIR, a deletion as a character device 0:0, as overlayfs has it.",
        "Without root the container's user 0 is the caller outside; there are others where the caller has subordinate ids (/etc/subuid, /etc/subgid) and newuidmap is installed, but not with --keep. Its changes are confined to what belongs to the caller, the working directory, the home directory and /usr/local; the system has to allow user namespaces. Limits take a cgroup that is delegated to the caller.",
        "Options end at COMMAND: what follows belongs to it.",
      ],
      examples: [
        ["tsrun try", "a shell that can break nothing"],
        ["tsrun try --keep /tmp/changes -- make install", "see what make install would change"],
        ["tsrun try --memory 64m --pids 20 -- ./program", "run a program within limits"],
      ],
      status: ranStatus,
    },
    plan: {
      summary: "print the system calls that create and start would make",
      args: "[ID]",
      paragraphs: [
        "Reads and checks the bundle's config.json as tsrun create does, and prints every step in strace's syntax with the property of config.json that it serves. Nothing is changed, nothing is run.",
      ],
      examples: [
        ["tsrun plan --bundle /bundles/web", "print the plan for a bundle"],
        ["tsrun plan --json --bundle /bundles/web", "print it for programs"],
      ],
    },
    seccomp: {
      summary: "show what a seccomp profile compiles to, or what it decides",
      args: "show [CONFIG]",
      paragraphs: [
        "CONFIG is a config.json or a bundle, config.json where absent. Prints the program that the kernel would get for its linux.seccomp, an instruction a line, and the names in it that are no system calls.",
        "With --syscall, prints the action that the program takes on that call, and the property of config.json that decides.",
      ],
      examples: [
        ["tsrun seccomp show", "print the program of ./config.json"],
        ["tsrun seccomp show /bundles/web --syscall openat --arg 2=0x241", "ask about one call"],
        ["tsrun seccomp show --syscall socket --arch x86", "ask about a 32-bit program"],
      ],
    },
    completion: {
      summary: "print a completion script for bash, zsh or fish",
      args: "SHELL",
      paragraphs: ["SHELL is bash, zsh or fish. The script completes commands, options, their values, and ids."],
      examples: [
        ["source <(tsrun completion bash)", "complete in this bash"],
        ["tsrun completion fish > ~/.config/fish/completions/tsrun.fish", "complete in every fish"],
      ],
    },
    help: {
      summary: "print help, for one command or for all",
      args: "[COMMAND]",
      paragraphs: ["The same as tsrun --help and tsrun COMMAND --help."],
      examples: [["tsrun help exec", "print the options of tsrun exec"]],
    },
  } as const satisfies Partial<Record<CommandName, Prose>>;
}

export function commandProse(name: CommandName): Prose {
  return allProse()[name];
}

function allProse(): Record<CommandName, Prose> {
  return { ...lifecycleProse(), ...controlProse(), ...otherProse() };
}
