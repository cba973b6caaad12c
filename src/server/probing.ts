/** How the relay learns whether clients can reach it through Tor: it tries itself, or reads another program's report. */
import { lstatSync, readFileSync } from 'node:fs'
import type { Config } from '../config/config.ts'
import type { Log } from '../log.ts'
import { probe } from '../operator/probe.ts'
import { followProbe, type Report, startProbe } from '../operator/reachability.ts'

/** The longest report of another program. */
const REPORT_BYTES = 128

/**
 * Starts the configured way.
 * @param names the relay's names now, in order
 * @returns undefined if none is configured
 */
export function startProbing(
  { probe: socks, probeFile, probeSeconds }: Config,
  names: () => readonly string[],
  log: Log,
): ReturnType<typeof startProbe> | undefined {
  if (probeFile !== undefined) return followProbe({ read: () => readReport(probeFile), everySeconds: probeSeconds }, log)
  if (socks === undefined) return undefined
  return startProbe(
    {
      // Addresses that the relay is leaving come last; clients move to the first one.
      name: () => names().find((name) => name.endsWith('.onion')),
      probe: (name, signal) => probe(name, socks, signal),
      everySeconds: probeSeconds,
      random: Math.random,
    },
    log,
  )
}

function readReport(path: string): Report | undefined {
  try {
    const { mtimeMs, size } = lstatSync(path)
    return size > REPORT_BYTES ? undefined : { text: readFileSync(path, 'latin1'), ageSeconds: (Date.now() - mtimeMs) / 1_000 }
  } catch {
    return undefined
  }
}
