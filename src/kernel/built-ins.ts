/**
 * Array methods that are ready when tsrun starts. JavaScriptCore has its own written in JavaScript and compiles each from
 * source when it is first called: 0.1 ms a method, a millisecond for one `tsrun run` (measured). The ones below come out
 * of the program's bytecode like the rest of tsrun. They do what the standard says for arrays without holes and callbacks
 * without `thisArg`, which is all that tsrun has.
 */
type Callback = (value: unknown, index: number, array: readonly unknown[]) => unknown;
type Reducer = (sum: unknown, value: unknown, index: number, array: readonly unknown[]) => unknown;

const methods = {
  map(this: unknown[], callback: Callback): unknown[] {
    const result: unknown[] = [];
    for (let i = 0; i < this.length; i++) result.push(callback(this[i], i, this));
    return result;
  },
  flatMap(this: unknown[], callback: Callback): unknown[] {
    const result: unknown[] = [];
    for (let i = 0; i < this.length; i++) {
      const made = callback(this[i], i, this);
      if (Array.isArray(made)) result.push(...made);
      else result.push(made);
    }
    return result;
  },
  filter(this: unknown[], callback: Callback): unknown[] {
    const result: unknown[] = [];
    for (let i = 0; i < this.length; i++) if (callback(this[i], i, this)) result.push(this[i]);
    return result;
  },
  some(this: unknown[], callback: Callback): boolean {
    for (let i = 0; i < this.length; i++) if (callback(this[i], i, this)) return true;
    return false;
  },
  every(this: unknown[], callback: Callback): boolean {
    for (let i = 0; i < this.length; i++) if (!callback(this[i], i, this)) return false;
    return true;
  },
  find(this: unknown[], callback: Callback): unknown {
    for (let i = 0; i < this.length; i++) if (callback(this[i], i, this)) return this[i];
    return undefined;
  },
  findIndex(this: unknown[], callback: Callback): number {
    for (let i = 0; i < this.length; i++) if (callback(this[i], i, this)) return i;
    return -1;
  },
  findLast(this: unknown[], callback: Callback): unknown {
    for (let i = this.length - 1; i >= 0; i--) if (callback(this[i], i, this)) return this[i];
    return undefined;
  },
  reduce(this: unknown[], callback: Reducer, initial: unknown): unknown {
    let sum = initial;
    for (let i = 0; i < this.length; i++) sum = callback(sum, this[i], i, this);
    return sum;
  },
  at(this: unknown[], index: number): unknown {
    return this[index < 0 ? this.length + index : index];
  },
};

/**
 * For tsrun's own code only: what is loaded late for people (yargs, zod) may want all that the standard says. Returns the
 * way back.
 */
export function installBuiltIns(): () => void {
  const prototype = Array.prototype as unknown as Record<string, unknown>;
  const standard = new Map<string, unknown>();
  for (const name in methods) {
    standard.set(name, prototype[name]);
    // Assignment keeps the attributes of the standard property: not enumerable.
    prototype[name] = methods[name as keyof typeof methods];
  }
  return () => {
    for (const [name, method] of standard) prototype[name] = method;
  };
}
