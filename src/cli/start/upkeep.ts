/**
 * Keeps an onion service up in front of a relay: runs tor, hears how far it is, and starts it again when it ends. What the
 * relay is to be told when the service can be found, or Tor has no network, is the caller's.
 */
import { chmod, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FREE, freeAddress } from './port.ts'
import type { Screen } from '../program/progress.ts'
import { CliError } from '../program/error.ts'
import { aborted, type Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'
import { publication, quoted, startTor, TorError } from '../../tor/process.ts'

/** The ports of the onion service: the raw door's, and a web browser's. */
export const ONION_PORT = 3308
const ONION_HTTP_PORT = 80
/** Tor without a step forward for so long most likely has no network. */
const PATIENCE_MS = 30_000
/** Uploads of the descriptor that will do: a client asks several of the eight and more directories. */
const ENOUGH_UPLOADS = 6
/** The longest wait before a tor that ended is started again. */
const BACKOFF_MAX_MS = 60_000

export interface Service {
  /** Whether this tor can ask clients for a proof of work when it is under load. */
  readonly pow: boolean
  /** Tor's data and the service's keys; outlives us. */
  readonly state: string
  /** Tor's configuration and control socket; removed at the end. */
  readonly tor: string
  /** The relay's doors that only tor can reach. */
  readonly raw: string
  readonly http: string
  /** Tor's file of the service's name. */
  readonly hostname: string
  /** Ours, by which the relay goes: `localhost` while Tor has no network, then the service's name and no other. */
  readonly nameFile: string
}

export interface TorListener {
  /** The service can be found. `socks` is the SOCKS port of this tor, for clients on this machine. */
  onReachable(name: string, socks: string): Promise<void>
  /** Called once, when Tor made no step forward for a while before the service could be found. */
  onNoNetwork(): Promise<void>
}

/** Runs tor until `over`, and again whenever it ends. */
export async function keepTor(service: Service, io: Io, screen: Screen, over: AbortSignal, listener: TorListener): Promise<void> {
  try {
    await mkdir(service.state, { recursive: true, mode: 0o700 })
    await chmod(service.state, 0o700)
  } catch {
    throw new CliError('the state folder cannot be made', { hint: 'name another one with --state' })
  }
  const extra = io.env['ASFALEIA_TORRC_EXTRA']
  const torrc = [...onionTorrc(service, await freeAddress(3309)), ...(extra === undefined ? [] : [await readExtra(extra)])]

  let reached = false
  let noNetwork: Promise<void> | undefined
  const patience = setTimeout(() => {
    // What can go wrong in it is the relay's end, which its own watcher reports.
    noNetwork = listener.onNoNetwork().catch(() => {})
  }, PATIENCE_MS)
  let wait = 1_000
  const runOnce = async (): Promise<string> => {
    const { done, onEvent } = publication(ENOUGH_UPLOADS)
    let progress = ''
    const tor = await startTor({
      folder: service.tor,
      data: join(service.state, 'data'),
      torrc,
      events: ['STATUS_CLIENT', 'HS_DESC'],
      onEvent: (event) => {
        onEvent(event)
        const [, percent, summary = ''] = / BOOTSTRAP PROGRESS=(\d+) .*?SUMMARY="([^"]*)"/.exec(event) ?? []
        if (reached || percent === undefined || percent === progress) return
        progress = percent
        if (noNetwork === undefined) patience.refresh()
        const what = percent === '100' ? 'making the onion service known' : sanitizeLine(summary).toLowerCase()
        screen.progress(`Tor ${percent}%: ${what}`)
      },
      signal: over,
    })
    try {
      const how = await Promise.race([done.then(() => 'reachable'), tor.exited.then(() => 'ended'), aborted(over)])
      if (how === 'reachable') {
        wait = 1_000
        clearTimeout(patience)
        // What it says of a name must not come after what is said now.
        await noNetwork
        const name = (await readFile(service.hostname, 'utf8')).trim()
        const listeners = (await tor.control.info('net/listeners/socks')) ?? ''
        if (!reached) await listener.onReachable(name, /"([^"]+)"/.exec(listeners)?.[1] ?? '')
        else screen.say('Tor is back, and the onion service with it')
        reached = true
      }
      await Promise.race([tor.exited, aborted(over)])
      return 'Tor ended'
    } finally {
      await tor.stop()
    }
  }
  try {
    while (!over.aborted) {
      const why = await runOnce().catch((error: unknown) => {
        if (error instanceof TorError) return explain(error)
        if (over.aborted) return ''
        throw error
      })
      if (over.aborted) break
      screen.say(`error: ${sanitizeLine(why)}; the relay runs on, and tor is started again in ${wait / 1_000} s`)
      await delay(wait, undefined, { signal: over }).catch(() => {})
      wait = Math.min(2 * wait, BACKOFF_MAX_MS)
    }
  } finally {
    clearTimeout(patience)
    await noNetwork
  }
}

/** Tor gives the reason as a warning, and ends with an error that points at it. */
function explain({ message, said }: TorError): string {
  const reason = said.findLast((line) => line.startsWith('[warn]')) ?? said.at(-1)
  return reason === undefined ? message : `${message}: ${reason.replace(/^\[\w+\] /, '')}`
}

/** What torrc.example says at length. */
function onionTorrc({ state, raw, http, pow }: Service, socks: string): string[] {
  return [
    `SocksPort ${socks === FREE ? '127.0.0.1:auto' : socks}`,
    'AvoidDiskWrites 1',
    `HiddenServiceDir ${quoted(join(state, 'onion'))}`,
    `HiddenServicePort ${ONION_PORT} unix:${quoted(raw)}`,
    `HiddenServicePort ${ONION_HTTP_PORT} unix:${quoted(http)}`,
    'HiddenServiceExportCircuitID haproxy',
    'HiddenServiceEnableIntroDoSDefense 1',
    'HiddenServiceMaxStreams 64',
    'HiddenServiceMaxStreamsCloseCircuit 1',
    ...(pow ? ['HiddenServicePoWDefensesEnabled 1'] : []),
  ]
}

async function readExtra(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    throw new CliError('the file that ASFALEIA_TORRC_EXTRA names cannot be read')
  }
}
