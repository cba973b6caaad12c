/**
 * The process: its signals, its standard streams and its exit code. Everything else is a command. After an unexpected
 * error, it prints neither the stack nor the message, because they may contain data.
 */
import { constants } from 'node:os'
import { findCommand, runCommand } from './command.ts'
import { systemCode, systemReason } from './disk/system.ts'
import { isOldNode, runOnOwnNode } from './node.ts'
import { CliError, printError } from './program/error.ts'
import { EXIT } from './program/exit.ts'
import { TIED } from './program/io.ts'
import { checkWords } from './program/words.ts'

const argv = process.argv.slice(2)
const command = findCommand(argv)
const { stdin, stdout, stderr, env } = process

try {
  checkWords(argv)
} catch (error) {
  process.exit(printError({ stderr }, error))
}
if (isOldNode()) {
  const code = await runOnOwnNode(command?.stays === true)
  const hint = 'run `npx asfaleia` in the checkout, or install Node 24.7 or later'
  process.exit(code ?? printError({ stderr }, new CliError(`Node ${process.versions.node} is too old`, { hint })))
}

const stop = new AbortController()
let askedAt = 0
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // A second signal ends the process at once. But one Ctrl-C can arrive twice, from the terminal and from npm, so
    // a signal within a second is the same one.
    if (stop.signal.aborted && performance.now() - askedAt > 1_000) process.exit(128 + constants.signals[signal])
    if (!stop.signal.aborted) askedAt = performance.now()
    stop.abort()
  })
}
// `asfaleia start` holds the relay's standard input. If `start` dies, the input ends, and the relay stops.
if (env[TIED] !== undefined)
  stdin
    .once('end', () => stop.abort())
    .on('error', () => stop.abort())
    .resume()

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => process.exit(printError({ stderr }, error)))
}

// If the reader of standard output is gone (`asfaleia get | head -1`), the command ends quietly. A relay keeps running.
const needsReader = command?.stays !== true
stdout.on('error', (error) => {
  if (needsReader) endOutput(error)
})
stderr.on('error', () => {})

const code = await runCommand(argv, { stdin, stdout, stderr, env, signal: stop.signal })
// Ends after the last output is written, because writes to a pipe may be asynchronous.
stdout.write('', (error) => {
  if (needsReader && error instanceof Error) endOutput(error)
  process.exit(code)
})

/** Ends the process after standard output failed: it is a full disk, for example. */
function endOutput(error: Error): never {
  if (systemCode(error) !== 'EPIPE')
    printError({ stderr }, new CliError(`cannot write to standard output: ${systemReason(error)}`, { hint: 'the output is incomplete' }))
  process.exit(EXIT.failed)
}
