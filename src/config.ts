/**
 * The relay's configuration: one schema for flags, environment and file.
 * A pure function of its inputs; every problem is reported at once.
 */
import type { Limits } from './protocol/limits.ts'
import type { Door } from './relay/counters.ts'

export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface Config {
  /** Raw TCP door; loopback only. */
  readonly tcp: Address | undefined
  /** Raw door on a unix socket, mode 0660. */
  readonly unix: Address | undefined
  /** Public HTTP listener: the page and the WebSocket. Loopback or unix. */
  readonly http: Address | undefined
  /** The operator's listener. Loopback or unix; never behind the onion. */
  readonly operator: Address | undefined
  /** Doors whose connections begin with a PROXY v1 line. */
  readonly proxy: readonly Door[]
  /** Names the relay is reached by, the first one counts without HELLO. */
  readonly names: readonly string[]
  /** Tor's `hostname` file of the onion service: read until it is there, then a name. */
  readonly nameFile: string | undefined
  /** Tor's control port, asked for its bootstrap state. */
  readonly torControl: Address | undefined
  /** authorized_keys file of the keys that may log in; undefined: any. */
  readonly admit: string | undefined
  /** Bytes of memory for messages. */
  readonly memory: number
  /** Connections at once, and those of them that proved no key yet, and those of one circuit. */
  readonly connections: number
  readonly unproven: number
  readonly perCircuit: number
  readonly limits: Limits
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'json' | 'pretty' }
}
