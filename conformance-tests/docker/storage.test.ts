/** Volumes, binds and tmpfs; images built with layers that are copied on write, on every storage driver that the kernel has. */
import { describe, expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { command, describeResult, type Result } from "../../tests/helpers/command.ts";
import { sh, success } from "../lib/commands.ts";
import { VIEW } from "../lib/runtimes.ts";
import type { Docker, DockerOptions } from "./engine.ts";
import { docker, type Lane } from "./lanes.ts";

describe("overlay2", () => {
  const { test } = docker({ flags: ["--storage-driver", "overlay2"] });
  volumes(test);
  builds(test);
  buildKit(test);
});

describe("vfs", () => {
  const { test } = docker({ flags: ["--storage-driver", "vfs"] });
  builds(test);
});

describe("btrfs", () => {
  const { test } = docker({ flags: ["--storage-driver", "btrfs"], prepare: mountBtrfs });
  builds(test);
});

describe("devicemapper", () => {
  const options: DockerOptions = {
    flags: ["--storage-driver", "devicemapper", "--storage-opt", "dm.override_udev_sync_check=true"],
  };
  if (existsSync("/dev/mapper/control")) builds(docker(options).test);
  else console.log(`skipped: docker${VIEW}: devicemapper: the kernel has no device mapper`);
});

type Test = ReturnType<typeof docker>["test"];

function volumes(test: Test): void {
  test("a volume lasts longer than its container", async ({ output, name, docker }) => {
    const volume = name();
    await output(sh("echo kept > /data/file"), ["-v", `${volume}:/data`]);
    expect(await output(["cat", "/data/file"], ["-v", `${volume}:/data:ro`])).toBe("kept\n");
    expect(success(await docker("volume", "ls", "--quiet")).stdout).toBe(`${volume}\n`);
  });

  test("an anonymous volume has what the image has there, and goes with --rm", async ({ output, docker }) => {
    expect(await output(sh("cat /etc/group | head -1; touch /etc/new && echo writable"), ["-v", "/etc"])).toBe(
      "root:x:0:\nwritable\n",
    );
    expect(success(await docker("volume", "ls", "--quiet")).stdout).toBe("");
  });

  test("--volumes-from", async ({ started, output }) => {
    const id = await started(sh("echo shared > /data/file; exec sleep 1000"), ["-v", "/data"]);
    expect(
      await output(sh("until test -s /data/file; do sleep 0.05; done; cat /data/file"), ["--volumes-from", id]),
    ).toBe("shared\n");
  });

  test("binds, writable, read-only and of one file; a source that does not exist", async ({ run, engine }) => {
    const shared = `${engine.home}/bound`;
    mkdirSync(shared);
    writeFileSync(`${shared}/from-host`, "hello\n");
    const script = "cat /mnt/from-host /one; echo world > /mnt/from-container; echo x > /made/for/it/x || echo refused";
    const result = await run(sh(script), [
      ...["-v", `${shared}:/mnt`, "-v", `${shared}:/made/for/it:ro`],
      ...["--mount", `type=bind,source=${shared}/from-host,target=/one,readonly`],
    ]);
    expect(result.stdout).toBe("hello\nhello\nrefused\n");
    expect(readFileSync(`${shared}/from-container`, "utf8")).toBe("world\n");
    expect(existsSync(`${shared}/x`)).toBe(false);
    const missing = await run(["true"], ["--mount", `type=bind,source=${shared}/nothing,target=/mnt`]);
    expect(missing.status).toBe(125);
  });

  test("--tmpfs and --mount type=tmpfs", async ({ output, note }) => {
    const options = [
      "--tmpfs",
      "/one:size=8m,mode=700,noexec",
      "--mount",
      "type=tmpfs,target=/two,tmpfs-size=4m,tmpfs-mode=1770",
    ];
    const seen = await output(
      sh(
        "df -k /one /two | tail -2 | tr -s ' ' | cut -d' ' -f2; stat -c %a /one /two; grep -E ' /(one|two) ' /proc/mounts",
      ),
      options,
    );
    expect(seen).toStartWith("8192\n4096\n700\n1770\n");
    note("mounts", seen);
  });

  test("a tmpfs over a directory of the image, a volume in a bind", async ({ output, engine, name }) => {
    mkdirSync(`${engine.home}/outer/inner`, { recursive: true });
    const options = ["--tmpfs", "/etc/inside", "-v", `${engine.home}/outer:/outer`, "-v", `${name()}:/outer/inner`];
    expect(await output(sh("ls /etc/inside | wc -l; touch /outer/inner/file && echo made"), options)).toBe("0\nmade\n");
    expect(existsSync(`${engine.home}/outer/inner/file`)).toBe(false);
  });
}

const DOCKERFILE = `FROM busybox
RUN mkdir /built && echo base > /built/base && echo first > /built/changed && chown -R 1000 /built
COPY input /built/input
RUN echo second >> /built/changed && rm /built/base
ENV GREETING=hello
WORKDIR /built
RUN echo "$GREETING $(pwd)" > greeting
USER someone
RUN id -u > /tmp/uid && echo third >> /built/changed
CMD ["sh", "-c", "cat changed input greeting /tmp/uid; ls"]
`;
const BUILT = "first\nsecond\nthird\nfrom the context\nhello /built\n1000\nchanged\ngreeting\ninput\n";

async function build(
  engine: Docker,
  dockerfile: string,
  image: string,
  kit: "0" | "1",
  ...more: string[]
): Promise<Result> {
  const context = `${engine.home}/context-${image}`;
  mkdirSync(context, { recursive: true });
  writeFileSync(`${context}/input`, "from the context\n");
  writeFileSync(`${context}/Dockerfile`, dockerfile);
  const args = ["build", "--network", "none", "--tag", image, ...more, context];
  const result = await engine.docker(args, { env: { DOCKER_BUILDKIT: kit, BUILDKIT_PROGRESS: "plain" } });
  rmSync(context, { recursive: true });
  return result;
}

function builds(test: Test): void {
  test("an image is built, and its containers copy on write", async (lane) => {
    const { engine, docker } = lane;
    success(await build(engine, DOCKERFILE, "built", "0"));
    await showsLayers(lane, "built");
    success(await docker("rmi", "built"));
  });

  test("a build whose command fails", async ({ engine, docker }) => {
    const result = await build(engine, "FROM busybox\nRUN exit 3\n", "failed", "0");
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain("returned a non-zero code: 3");
    expect(success(await docker("images", "--quiet", "failed")).stdout).toBe("");
  });
}

/** The image works, and what one container changes neither the image nor another container sees. */
async function showsLayers({ docker, name }: Lane, image: string): Promise<void> {
  const line = (...words: string[]) => docker("run", "--network", "none", ...words);
  expect(success(await line("--rm", image)).stdout).toBe(BUILT);
  const history = success(await docker("history", "--format", "{{.Size}}", image))
    .stdout.trim()
    .split("\n");
  expect(history.length).toBeGreaterThanOrEqual(9);
  const changing = name();
  const change = "echo fourth >> changed; rm input; mkdir new; echo done";
  expect(success(await line("--name", changing, image, ...sh(change))).stdout).toBe("done\n");
  const changes = success(await docker("diff", changing))
    .stdout.trim()
    .split("\n")
    .toSorted();
  expect(changes).toEqual(["A /built/new", "C /built", "C /built/changed", "D /built/input"]);
  expect(success(await line("--rm", image)).stdout).toBe(BUILT);
  success(await docker("rm", changing));
}

function buildKit(test: Test): void {
  test("BuildKit builds with the runc of its PATH", async (lane) => {
    const { engine, docker } = lane;
    const [link, calls] = [`${engine.home}/bin/runc`, `${engine.home}/calls`];
    rmSync(link);
    writeFileSync(link, `#!/bin/sh\necho "$@" >>${calls}\nexec ${engine.runtime.path} "$@"\n`, { mode: 0o755 });
    success(await build(engine, DOCKERFILE, "built-by-kit", "1"));
    const commands = readFileSync(calls, "utf8").trimEnd().split("\n");
    // One for each RUN; and the container of the default runtime does not go that way.
    expect(commands.filter((line) => line.includes(" run --bundle "))).toHaveLength(4);
    await showsLayers(lane, "built-by-kit");
    expect(readFileSync(calls, "utf8").trimEnd().split("\n")).toEqual(commands);
    success(await docker("rmi", "built-by-kit"));
  });

  test("BuildKit: mounts of a RUN, a stage of its own, a command that fails", async ({ engine, docker, output }) => {
    const stages = `FROM busybox AS first
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch \\
    grep -c -E ' /(cache|scratch) ' /proc/mounts > /seen && echo made > /made
FROM busybox
COPY --from=first /made /seen /
RUN --mount=type=bind,source=input,target=/in cat /in >> /made
`;
    success(await build(engine, stages, "stages", "1"));
    const shown = success(await docker("run", "--rm", "--network", "none", "stages", "cat", "/made", "/seen"));
    expect(shown.stdout).toBe("made\nfrom the context\n2\n");
    success(await docker("rmi", "stages"));
    const failed = await build(engine, "FROM busybox\nRUN echo said before; exit 3\n", "kit-failed", "1");
    expect(failed.status).toBe(1);
    expect(failed.stderr).toContain("exit code: 3");
    expect(await output(["true"])).toBe("");
  });
}

function mountBtrfs(home: string): () => void {
  const must = (...argv: string[]) => {
    const result = command(argv, { limit: 60_000 });
    if (result.status !== 0) throw new Error(describeResult(result));
  };
  mkdirSync(`${home}/data`);
  must("truncate", "-s", "300M", `${home}/btrfs`);
  must("mkfs.btrfs", "-q", `${home}/btrfs`);
  must("mount", "-o", "loop", `${home}/btrfs`, `${home}/data`);
  return () => must("umount", `${home}/data`);
}
