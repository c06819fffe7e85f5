import { readFileSync } from "node:fs";
import { type Entry, tar } from "./tar.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";
const COMMAND = ["sh", "-c", "echo the command of the image"];

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/**
 * An image with a static busybox, as a tar archive of an OCI image layout (image-spec, image-layout.md), which
 * `ctr image import` takes under the name `reference`. `command` is what it runs when nothing else is asked for.
 */
export function busyboxImage(busybox: string, reference: string, command: readonly string[] = COMMAND): Uint8Array {
  const blobs: Entry[] = [];
  const add = (mediaType: string, data: Uint8Array): Descriptor => {
    const hash = new Bun.CryptoHasher("sha256").update(data).digest("hex");
    blobs.push({ kind: "file", path: `blobs/sha256/${hash}`, mode: 0o644, data });
    return { mediaType, digest: `sha256:${hash}`, size: data.length };
  };
  const layer = add(LAYER, busyboxRoot(busybox));
  const config = add(CONFIG, json(imageConfig(layer.digest, command)));
  const manifest = add(MANIFEST, json({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] }));
  const annotations = { "org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": reference };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  return tar([
    { kind: "file", path: "oci-layout", mode: 0o644, data: json({ imageLayoutVersion: "1.0.0" }) },
    { kind: "file", path: "index.json", mode: 0o644, data: json(index) },
    ...["blobs", "blobs/sha256"].map((path): Entry => ({ kind: "directory", path, mode: 0o755 })),
    ...blobs,
  ]);
}

function imageConfig(layer: string, command: readonly string[]): object {
  return {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Env: ["PATH=/usr/bin:/bin", "FROM_IMAGE=yes"], Cmd: command },
    rootfs: { type: "layers", diff_ids: [layer] },
    // podman build counts layers in it.
    history: [{ created: "1970-01-01T00:00:00Z", created_by: "tests" }],
  };
}

/** A root file system with a static busybox, as `docker import` takes it. */
export function busyboxRoot(busybox: string): Uint8Array {
  return tar(rootfs(busybox));
}

function rootfs(busybox: string): Entry[] {
  const directory = (path: string, mode = 0o755): Entry => ({ kind: "directory", path, mode });
  const text = (path: string, contents: string): Entry => {
    return { kind: "file", path, mode: 0o644, data: new TextEncoder().encode(contents) };
  };
  return [
    ...["bin", "dev", "etc", "mnt", "proc", "root", "run", "sys"].map((path) => directory(path)),
    directory("tmp", 0o1777),
    { kind: "file", path: "bin/busybox", mode: 0o755, data: readFileSync(busybox) },
    ...applets(busybox).map(
      (name): Entry => ({ kind: "link", path: `bin/${name}`, mode: 0o755, target: "bin/busybox" }),
    ),
    text("bin/not-executable", "#!/bin/sh\necho never\n"),
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsomeone:x:1000:1000::/tmp:/bin/sh\n"),
    text("etc/group", "root:x:0:\nsomeone:x:1000:\n"),
  ];
}

function applets(busybox: string): string[] {
  const list = Bun.spawnSync({ cmd: [busybox, "--list"] });
  if (!list.success) throw new Error(`cannot list the applets of ${busybox}: install busybox-static`);
  return list.stdout
    .toString()
    .trim()
    .split("\n")
    .filter((name) => name !== "busybox" && !name.includes("/"));
}

function json(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
