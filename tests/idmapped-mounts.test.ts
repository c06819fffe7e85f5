import { expect } from "bun:test";
import { chownSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { type Config, unshare } from "./helpers/config.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, bundle, run, mountHere } = suite("idmapped-mounts");

/** A directory of the bundle with a file of user 1000, group 2000. */
function volume(at: { readonly dir: string }): string {
  const dir = `${at.dir}/volume`;
  mkdirSync(`${dir}/sub`, { recursive: true });
  for (const path of [dir, `${dir}/sub`]) chownSync(path, 1000, 2000);
  writeFileSync(`${dir}/file`, "");
  chownSync(`${dir}/file`, 1000, 2000);
  return dir;
}

const uids = [{ containerID: 1000, hostID: 5000, size: 1 }];
const gids = [{ containerID: 2000, hostID: 6000, size: 1 }];

const bind =
  (options: string[], more: (config: Config) => void = () => {}): Change =>
  (config, at) => {
    more(config);
    config.mounts.push({
      destination: "/mnt",
      type: "bind",
      source: volume(at),
      options,
      uidMappings: uids,
      gidMappings: gids,
    });
  };

test("files have the mapped owner inside", () => {
  expect(see("stat -c %u:%g /mnt/file", bind(["bind"]))).toBe("5000:6000");
  expect(see("stat -c %u:%g /mnt/file", bind(["bind", "idmap"]))).toBe("5000:6000");
});

test("files made inside have the owner of the source", () => {
  const b = bundle((config, at) => {
    bind(["bind"])(config, at);
    config.process.user = { uid: 5000, gid: 6000 };
    config.process.capabilities = {};
    config.process.args = ["/bin/touch", "/mnt/made"];
  });
  mustSucceed(run(b));
  const made = statSync(`${b.dir}/volume/made`);
  expect([made.uid, made.gid]).toEqual([1000, 2000]);
});

test("an owner outside the map is nobody", () => {
  const change: Change = (config, at) => {
    bind(["bind"])(config, at);
    writeFileSync(`${at.dir}/volume/other`, "");
    chownSync(`${at.dir}/volume/other`, 77, 77);
  };
  expect(see("stat -c %u:%g /mnt/other", change)).toBe("65534:65534");
});

/** Mounts another directory on volume/sub, with a file of 1000:2000 in it. No tmpfs: before Linux 6.3 it has no id maps. */
const withInner: Change = (_config, at) => {
  mkdirSync(`${at.dir}/inner`);
  mountHere("--bind", `${at.dir}/inner`, `${at.dir}/volume/sub`);
  writeFileSync(`${at.dir}/volume/sub/inner`, "");
  chownSync(`${at.dir}/volume/sub/inner`, 1000, 2000);
};

test("idmap: the mount alone; ridmap: those below too", () => {
  for (const [option, owner] of [
    ["idmap", "1000:2000"],
    ["ridmap", "5000:6000"],
  ] as const) {
    const seen = see("stat -c %u:%g /mnt/sub/inner", (config, at) => {
      bind(["rbind", option])(config, at);
      withInner(config, at);
    });
    expect([option, seen]).toEqual([option, owner]);
  }
});

/** Ids 0…9999 of the container are 100000…109999 of the host. */
const userNamespace: Change = (config, at) => {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 10_000 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 10_000 }];
  chownSync(at.rootfs, 100_000, 100_000);
};

test("in a user namespace, with its own map: files keep their owner", () => {
  const seen = see("stat -c %u:%g /mnt/file", (config, at) => {
    userNamespace(config, at);
    const map = [{ containerID: 0, hostID: 100_000, size: 10_000 }];
    config.mounts.push({
      destination: "/mnt",
      type: "bind",
      source: volume(at),
      options: ["bind"],
      uidMappings: map,
      gidMappings: map,
    });
  });
  expect(seen).toBe("1000:2000");
});

test("in a user namespace, option idmap without a map: the container's map", () => {
  const seen = see("stat -c %u:%g /mnt/file", (config, at) => {
    userNamespace(config, at);
    config.mounts.push({ destination: "/mnt", type: "bind", source: volume(at), options: ["bind", "idmap"] });
  });
  expect(seen).toBe("1000:2000");
});

test("in a user namespace, with another map", () => {
  const seen = see("stat -c %u:%g /mnt/file", (config, at) => {
    userNamespace(config, at);
    config.mounts.push({
      destination: "/mnt",
      type: "bind",
      source: volume(at),
      options: ["bind"],
      uidMappings: [{ containerID: 1000, hostID: 100_001, size: 1 }],
      gidMappings: [{ containerID: 2000, hostID: 100_002, size: 1 }],
    });
  });
  expect(seen).toBe("1:2");
});

test("without a map, in a user namespace, files are nobody's", () => {
  const seen = see("stat -c %u:%g /mnt/file", (config, at) => {
    userNamespace(config, at);
    config.mounts.push({ destination: "/mnt", type: "bind", source: volume(at), options: ["bind"] });
  });
  expect(seen).toBe("65534:65534");
});

test("crun's spelling: the map in the option", () => {
  const seen = see("stat -c %u:%g /mnt/file", (config, at) => {
    const option = "idmap=uids=1000-5000-1;gids=2000-6000-1";
    config.mounts.push({ destination: "/mnt", type: "bind", source: volume(at), options: ["bind", option] });
  });
  expect(seen).toBe("5000:6000");
});

test("option idmap without a map and without a user namespace is refused", () => {
  const stderr = refusal((config, at) => {
    config.mounts.push({ destination: "/mnt", type: "bind", source: volume(at), options: ["bind", "idmap"] });
  });
  expect(stderr).toMatch(/map|user namespace/i);
});

test("only one of the two maps is refused", () => {
  const stderr = refusal((config, at) => {
    config.mounts.push({ destination: "/mnt", type: "bind", source: volume(at), options: ["bind"], uidMappings: uids });
  });
  expect(stderr).toMatch(/gidMappings|gid/);
});

test("a file system that cannot be idmapped is refused by name", () => {
  const stderr = refusal((config) => {
    config.mounts.push({
      destination: "/mnt",
      type: "bind",
      source: "/proc",
      options: ["bind"],
      uidMappings: uids,
      gidMappings: gids,
    });
  });
  expect(stderr).toMatch(/idmap/i);
  expect(stderr).toContain("/mnt");
});
