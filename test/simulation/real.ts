/** The functions of Node that platform.ts replaces, as they were. Import this file before `install` is called. */
export const realImmediate = globalThis.setImmediate
export const realHrtime = process.hrtime.bigint.bind(process.hrtime)
