/**
 * The CPU time of a command until it sends its first packet, or until it ends. The listener is a SOCKS proxy that ends the
 * command at its first byte.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MAIN = join(import.meta.dirname, '../dist/cli/main.js')
/** A valid address of an onion service that the commands never reach. */
const RELAY = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'
/** The kernel counts in units of 10 ms, so a sample is the sum of several runs. */
const RUNS = 10
const TICKS = 100

/** What is measured: the words after `node`. Each but the last two ends by itself. */
export const COMMANDS = {
  node: ['-e', '0'],
  help: [MAIN, '--help'],
  completion: [MAIN, 'completion', 'bash'],
  send: [MAIN, 'send', 'bob', 'hello'],
  get: [MAIN, 'get'],
} as const satisfies Record<string, readonly string[]>
export type CommandName = keyof typeof COMMANDS

/** Measures each command in turn. @param record receives milliseconds of CPU time for one run */
export async function measureCommands(
  rounds: number,
  record: (name: CommandName, round: number, milliseconds: number) => void,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-command-'))
  let child: ReturnType<typeof spawn> | undefined
  const proxy = createServer((socket) => socket.on('error', () => {}).once('data', () => child?.kill('SIGKILL')))
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const envOf = (name: string): NodeJS.ProcessEnv => ({
    PATH: process.env['PATH'],
    ASFALEIA_HOME: join(folder, name),
    ASFALEIA_SOCKS: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
  })
  const ask = (name: string, ...words: string[]): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], { env: envOf(name), encoding: 'utf8' })
    if (status !== 0) throw new Error(`asfaleia ${words[0]}: ${stderr}`)
    return stdout.trim()
  }
  try {
    ask('alice', 'me', '--name', 'Alice', '--relay', RELAY)
    ask('alice', 'contact', 'add', ask('bob', 'me', '--name', 'Bob', '--relay', RELAY))
    for (let round = 1; round <= rounds; round++) {
      for (const [name, words] of Object.entries(COMMANDS) as [CommandName, readonly string[]][]) {
        const before = childSeconds()
        for (let run = 0; run < RUNS; run++) {
          child = spawn(process.execPath, words, { env: envOf('alice'), stdio: 'ignore' })
          await once(child, 'exit')
        }
        record(name, round, ((childSeconds() - before) * 1_000) / RUNS)
      }
    }
  } finally {
    child?.kill('SIGKILL')
    proxy.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Reads the CPU time of this process's ended children: cutime and cstime of proc(5). */
function childSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) / TICKS
}
