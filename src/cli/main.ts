#!/usr/bin/env node
/**
 * The process: its signals, its standard streams and its exit code. Everything else is a command.
 * Whatever goes wrong unforeseen, no stack and no message of it are printed: they may hold data.
 */
import { constants } from 'node:os'
import { findCommand, runCommand } from './command.ts'
import { isOldNode, runOnOwnNode } from './node.ts'
import { CliError, printError } from './program/error.ts'
import { EXIT } from './program/exit.ts'
import { TIED } from './program/io.ts'

const argv = process.argv.slice(2)
const command = findCommand(argv)
const { stdin, stdout, stderr, env } = process

if (isOldNode()) {
  const code = await runOnOwnNode(command?.stays === true)
  const hint = 'start it by npx in its checkout, or install Node 24 or later'
  process.exit(code ?? printError({ stderr }, new CliError(`Node ${process.versions.node} is too old`, { hint })))
}

const stop = new AbortController()
let askedAt = 0
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Who asks twice does not want to wait. The same Ctrl-C can come twice, though: from the terminal, and
    // passed on by npm.
    if (stop.signal.aborted && performance.now() - askedAt > 1_000) process.exit(128 + constants.signals[signal])
    if (!stop.signal.aborted) askedAt = performance.now()
    stop.abort()
  })
}
// `asfaleia start` holds its relay's standard input: when it dies, the relay ends, too.
if (env[TIED] !== undefined)
  stdin
    .once('end', () => stop.abort())
    .on('error', () => stop.abort())
    .resume()

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => process.exit(printError({ stderr }, error)))
}

// Nobody reads any more (`asfaleia get | head -1`): end quietly, but for what serves others.
const needsReader = command?.stays !== true
stdout.on('error', () => {
  if (needsReader) process.exit(EXIT.failed)
})
stderr.on('error', () => {})

const code = await runCommand(argv, { stdin, stdout, stderr, env, signal: stop.signal })
// Where writes are not synchronous, what was written goes out first.
stdout.write('', (error) => process.exit(needsReader && error instanceof Error ? EXIT.failed : code))
