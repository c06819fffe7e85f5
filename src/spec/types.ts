/**
 * The documents of the OCI runtime specification as TypeScript types. Inferred from the zod model with `import type`, so
 * that zod itself never becomes part of the binary.
 */
import type { z } from "zod";
import type { config } from "./model/config.ts";
import type { device, netDevice } from "./model/devices.ts";
import type { features } from "./model/features.ts";
import type { hook, hooks } from "./model/hooks.ts";
import type { idMapping } from "./model/id-mapping.ts";
import type { intelRdt, linux, memoryPolicy, personality, rootfsPropagation } from "./model/linux.ts";
import type { mount } from "./model/mounts.ts";
import type { namespace, namespaceType, timeOffsets } from "./model/namespaces.ts";
import type {
  capabilities,
  consoleSize,
  execCpuAffinity,
  ioPriority,
  process,
  rlimit,
  scheduler,
  user,
} from "./model/process.ts";
import type { resources } from "./model/resources.ts";
import type { root } from "./model/root.ts";
import type { seccomp, seccompAction, seccompArch, seccompFlag, seccompOperator } from "./model/seccomp.ts";
import type { state } from "./model/state.ts";

export type Config = z.infer<typeof config>;
export type Root = z.infer<typeof root>;
export type Mount = z.infer<typeof mount>;
export type Hook = z.infer<typeof hook>;
export type Hooks = z.infer<typeof hooks>;
export type HookKind = keyof Hooks;

export type Process = z.infer<typeof process>;
export type User = z.infer<typeof user>;
export type Capabilities = z.infer<typeof capabilities>;
export type Rlimit = z.infer<typeof rlimit>;
export type Scheduler = z.infer<typeof scheduler>;
export type IoPriority = z.infer<typeof ioPriority>;
export type ExecCpuAffinity = z.infer<typeof execCpuAffinity>;
export type ConsoleSize = z.infer<typeof consoleSize>;

export type Linux = z.infer<typeof linux>;
export type Namespace = z.infer<typeof namespace>;
export type NamespaceType = z.infer<typeof namespaceType>;
export type IdMapping = z.infer<typeof idMapping>;
export type Device = z.infer<typeof device>;
export type NetDevice = z.infer<typeof netDevice>;
export type TimeOffsets = z.infer<typeof timeOffsets>;
export type RootfsPropagation = z.infer<typeof rootfsPropagation>;
export type Personality = z.infer<typeof personality>;
export type IntelRdt = z.infer<typeof intelRdt>;
export type MemoryPolicy = z.infer<typeof memoryPolicy>;
export type Resources = z.infer<typeof resources>;

export type Seccomp = z.infer<typeof seccomp>;
export type SeccompAction = z.infer<typeof seccompAction>;
export type SeccompArch = z.infer<typeof seccompArch>;
export type SeccompFlag = z.infer<typeof seccompFlag>;
export type SeccompOperator = z.infer<typeof seccompOperator>;

export type Features = z.infer<typeof features>;
export type OciState = z.infer<typeof state>;
