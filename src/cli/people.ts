/**
 * The commands that run most often, as one module: the program loads it faster than a module each
 * (docs/decisions/0026-few-files-to-load.md).
 */
export * as contact from './commands/contact.ts'
export * as get from './commands/get.ts'
export * as group from './commands/group.ts'
export * as send from './commands/send.ts'
