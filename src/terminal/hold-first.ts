/**
 * Imported before everything else: the engine makes its first thread while it loads the program, once that has grown
 * past some size, and a thread that does not block a signal would let it end tsrun. Commands that hold nothing release
 * the signals when they are known.
 */
import { holdSignals } from "./hold-signals.ts";

holdSignals();
