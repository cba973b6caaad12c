/**
 * `npm run demo`: a private Tor network on this machine, a relay behind an onion service in it, and Alice and Bob, who
 * exchange cards and chat by the command line. Prints each command with its output, and leaves no file or process.
 */
import { spawn } from 'node:child_process'
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

  const env = { ASFALEIA_SOCKS: `${client.socks.host}:${client.socks.port}` }
  const at = (who: string): Record<string, string> => ({ ...env, ASFALEIA_HOME: join(folder, who.toLowerCase()) })
  /** Shows what a person types, each link shortened. */
  const showCommand = (who: string, words: readonly string[]): void =>
    tell(`${bold(who)} $ asfaleia ${words.map((word) => (/^[\w./:-]+$/.test(word) ? word : `'${shorten(word)}'`)).join(' ')}`)
  const type = async (who: string, ...words: string[]): Promise<string> => {
    showCommand(who, words)
    const { code, stdout, stderr } = await orStop(run([...ASFALEIA, ...words], { cwd: folder, env: at(who) }))
    process.stdout.write(indent(shorten(`${stdout}${stderr}`)))
    if (code !== 0) throw new Error(`asfaleia ${words[0]} ended with code ${code}`)
    return stdout.trim()
  }

  const relayAddress = `${host.onion}:3308`
  const alice = await type('Alice', 'me', '--name', 'Alice', '--relay', relayAddress, '--link')
  const bob = await type('Bob', 'me', '--name', 'Bob', '--relay', relayAddress, '--link')
  tell('They give each other their links, by any other way that they have.')
  await type('Alice', 'contact', 'add', bob)
  await type('Bob', 'contact', 'add', alice)

  const chat = (who: string, whom: string): Chat => {
    showCommand(who, ['chat', whom, '--plain'])
    const opened = openChat(who, at(who), whom)
    cleanUp.push(() => opened.end())
    return opened
  }
  const [one, other] = [chat('Alice', 'Bob'), chat('Bob', 'Alice')]
  await orStop(Promise.all([one.until('connected'), other.until('connected')]))
  for (const [from, to, text] of [
    [one, other, 'Hello Bob. The relay cannot read this.'],
    [other, one, 'Hello Alice. And it has already forgotten it.'],
  ] as const) {
    from.write(text)
    await orStop(Promise.all([to.until(`: ${text}`), from.until('delivered')]))
  }
  await Promise.all([one.end(), other.end()])
  tell('Each message crossed six hops of Tor. The relay held it in memory, and erased it once the receiver had it.')
}

interface Chat {
  write(text: string): void
  /** Resolves once a line of the chat has this text. */
  until(text: string): Promise<void>
  end(): Promise<void>
}

/** A line-by-line chat whose lines are printed with the person's name. */
function openChat(who: string, env: Readonly<Record<string, string>>, whom: string): Chat {
  const [program, ...args] = ASFALEIA
  const child = spawn(program, [...args, 'chat', whom, '--plain'], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  let said = ''
  const waiting = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
    process.stdout.write(text.replace(/^(?=.)/gm, `       ${who.padEnd(5)} | `))
    for (const look of waiting) look()
  })
  return {
    write: (text) => child.stdin.write(`${text}\n`),
    until: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!said.includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        void ended.then(() => reject(new Error(`the chat of ${who} ended early`)))
      }),
    end() {
      child.stdin.end()
      return ended
    },
  }
}

const indent = (text: string): string => text.replace(/^(?=.)/gm, '       ')
const shorten = (text: string): string => text.replaceAll(/(asfaleia:card\/1\?name=\w+&key=)\S+/g, '$1…')

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
