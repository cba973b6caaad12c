/**
 * `npm run demo`: Alice and Bob write to each other with the command line through a relay behind an onion
 * service in a private Tor network on this machine. The demo prints each step and leaves nothing behind.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ASFALEIA, run, type Running, start } from './process.ts'
import { missing } from './programs.ts'
import { startTorNetwork, TOR_PROGRAMS, type TorNetwork } from './tor-network.ts'

const started = Date.now()
const bold = (text: string): string => (process.stdout.isTTY ? `\u001b[1m${text}\u001b[0m` : text)
const tell = (text: string): void => {
  process.stdout.write(`\n${`${((Date.now() - started) / 1_000).toFixed(0)} s`.padStart(5)}  ${text}\n`)
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
/** Lets a slow step be interrupted. */
const orStop = async <T>(work: Promise<T>): Promise<T> => {
  const { promise, reject } = Promise.withResolvers<never>()
  stop.signal.addEventListener('abort', () => reject(new Error('stopped')))
  stop.signal.throwIfAborted()
  return Promise.race([work, promise])
}

async function demo(folder: string, cleanUp: (() => Promise<unknown>)[]): Promise<void> {
  tell(bold('A Tor network of our own: five directory authorities, an onion host and a client, on this machine alone.'))
  const starting = startTorNetwork({ signal: stop.signal })
  cleanUp.push(() =>
    starting.then(
      (network: TorNetwork) => network.stop(),
      () => {},
    ),
  )
  const network = await orStop(starting)
  tell('The network agreed on a consensus. Now an onion service for the relay, and a client for Alice and Bob.')
  const [host, client] = await orStop(
    Promise.all([
      network.addOnionHost({ doors: [{ port: 3308, target: { kind: 'unix', path: join(folder, 'raw') } }], proxyHeader: true }),
      network.addClient(),
    ]),
  )
  const doors = ['--tcp', 'off', '--http', 'off', '--operator', 'off', '--unix', join(folder, 'raw'), '--proxy', 'unix']
  const relay: Running = start([...ASFALEIA, 'relay', ...doors, '--name-file', host.nameFile])
  cleanUp.push(() => relay.end())
  await orStop(relay.until(/^ready$/m))
  tell(`The relay runs, on a unix socket that only tor reaches. Its address:\n\n       ${bold(host.onion)}`)

  const where = ['--relay', `${host.onion}:3308`, '--socks', `${client.socks.host}:${client.socks.port}`]
  const type = async (who: string, ...args: string[]): Promise<string> => {
    const shown = args.map((word) => (/^[\w./:-]+$/.test(word) ? word : `'${word}'`)).join(' ')
    tell(`${bold(who)} $ asfaleia ${shown.replace(` ${where.join(' ')}`, ' --relay …')}`)
    const { code, stdout, stderr } = await orStop(run([...ASFALEIA, ...args], { cwd: folder }))
    process.stdout.write(`${stdout}${stderr}`.replace(/^(?=.)/gm, '       '))
    if (code !== 0) throw new Error(`asfaleia ${args[0]} ended with code ${code}`)
    return stdout
  }
  const talk = async (from: string, to: string, text: string): Promise<void> => {
    await type(from, 'send', ...where, '--key', from.toLowerCase(), `${to.toLowerCase()}.pub`, text)
    const read = await type(to, 'get', ...where, '--key', to.toLowerCase())
    if (!read.includes(text)) throw new Error(`${to} did not get the message`)
  }
  await type('Alice', 'key', '--out', 'alice')
  await type('Bob', 'key', '--out', 'bob')
  await talk('Alice', 'Bob', 'Hello Bob. The relay cannot read this.')
  await talk('Bob', 'Alice', 'Hello Alice. And it has already forgotten it.')
  tell('Each message crossed six hops of Tor, was held in the relay’s memory, and was erased when it was read.')
}

const reason = missing(...TOR_PROGRAMS)
if (reason === undefined) {
  const folder = await mkdtemp(join(tmpdir(), 'asf-demo-'))
  const cleanUp: (() => Promise<unknown>)[] = []
  try {
    await demo(folder, cleanUp)
  } catch (error) {
    if (!stop.signal.aborted) {
      process.stderr.write(`asfaleia: error: ${(error as Error).message}\n`)
      process.exitCode = 1
    }
  } finally {
    tell('Cleaning up.')
    for (const clean of cleanUp.toReversed()) await clean()
    await rm(folder, { recursive: true, force: true })
  }
} else {
  process.stderr.write(`asfaleia: error: the demo needs a Tor network of its own; ${reason}\n`)
  process.exitCode = 1
}
