/**
 * The smallest programs that a container can run, so that what is measured is the runtime and not the program: `true`
 * ends at once, `pause` waits for a signal. A static ELF executable (elf(5)): header, one segment, some instructions.
 */
const CODE = {
  x64: {
    machine: 62,
    true: "b83c000000 31ff 0f05", // exit(0)
    pause: "b822000000 0f05 ebf7", // for (;;) pause();
  },
  arm64: {
    machine: 183,
    true: "a80b80d2 000080d2 010000d4", // exit(0)
    pause: "280980d2 000080d2 010080d2 020080d2 030080d2 040080d2 010000d4 faffff17", // for (;;) ppoll(0, 0, 0, 0, 0);
  },
} as const;

const ADDRESS = 0x400000;
const HEADERS = 64 + 56;

export function staticProgram(name: "true" | "pause"): Uint8Array {
  const { machine, [name]: hex } = process.arch === "arm64" ? CODE.arm64 : CODE.x64;
  const code = Buffer.from(hex.replaceAll(" ", ""), "hex");
  const image = Buffer.alloc(HEADERS + code.length);
  writeHeader(image, machine);
  writeSegment(image);
  code.copy(image, HEADERS);
  return image;
}

function writeHeader(image: Buffer, machine: number): void {
  image.write("\x7fELF\x02\x01\x01", 0, "latin1"); // 64-bit, little-endian, version 1
  image.writeUInt16LE(2, 16); // ET_EXEC
  image.writeUInt16LE(machine, 18);
  image.writeUInt32LE(1, 20);
  image.writeUInt32LE(ADDRESS + HEADERS, 24);
  image.writeUInt32LE(64, 32);
  image.writeUInt16LE(64, 52);
  image.writeUInt16LE(56, 54);
  image.writeUInt16LE(1, 56);
}

function writeSegment(image: Buffer): void {
  image.writeUInt32LE(1, 64); // PT_LOAD
  image.writeUInt32LE(5, 68); // read, execute
  image.writeUInt32LE(ADDRESS, 80);
  image.writeUInt32LE(ADDRESS, 88);
  image.writeUInt32LE(image.length, 96);
  image.writeUInt32LE(image.length, 104);
  image.writeUInt32LE(0x1000, 112);
}
