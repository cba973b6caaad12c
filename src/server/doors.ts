/**
 * The listeners where clients connect, and every socket that came through them. Knows nothing of the relay: each door
 * hands its sockets on, with the circuit they came by if a PROXY line states it.
 */
import type { Server, Socket } from 'node:net'
import type { Address } from '../transport/address.ts'
import type { Door } from '../relay/counters.ts'
import { readProxyHeader } from '../transport/proxy-header.ts'
import { createSocketServer, listen } from '../transport/socket.ts'
import { waitForAddress } from './address-wait.ts'

/** For connections that are refused because the relay is full. */
const SPARE_SOCKETS = 256

export interface DoorsOptions {
  /** Doors whose connections begin with a PROXY v1 line. */
  readonly proxy: readonly Door[]
  /** Connections that the relay serves at once. */
  readonly connections: number
  /** A connection had no sound PROXY line. */
  onHeaderRefused(): void
  /** Called once, if this Node may keep bytes that it read (src/transport/socket.ts, `readThrough`). */
  onKept(): void
}

export class Doors {
  readonly #options: DoorsOptions
  readonly #open: { readonly server: Server; readonly address: Address }[] = []
  readonly #sockets = new Set<Socket>()
  #kept = false

  constructor(options: DoorsOptions) {
    this.#options = options
  }

  /**
   * Opens a door.
   * @param patience how long the address may be in use, ms
   * @returns the address as taken: port 0 became a port
   * @throws ListenError
   */
  async open(
    door: Door,
    address: Address,
    patience: { readonly ms: number; isOver(): boolean },
    onSocket: (socket: Socket, circuit: string | undefined) => void,
  ): Promise<Address> {
    const server = createSocketServer(
      (socket) => {
        this.#sockets.add(socket)
        socket.on('close', () => this.#sockets.delete(socket))
        if (!this.#options.proxy.includes(door)) return onSocket(socket, undefined)
        readProxyHeader(
          socket,
          (circuit) => onSocket(socket, circuit),
          () => this.#options.onHeaderRefused(),
        )
      },
      () => this.#reportKept(),
    )
    // Sockets that wait for a PROXY line, or that the relay refused, must not use up the system's limit.
    server.maxConnections = this.#options.connections + SPARE_SOCKETS
    const taken = await waitForAddress(() => listen(server, address), patience)
    this.#open.push({ server, address: taken })
    return taken
  }

  /** Stops listening and frees the addresses; connections stay. */
  release(): void {
    for (const { server } of this.#open) server.close()
  }

  /** Listens at the same addresses again, at each as soon as it is free; tries until it has them all or `isOver`. */
  async reopen(isOver: () => boolean): Promise<void> {
    await Promise.all(
      this.#open.map(async ({ server, address }) => waitForAddress(() => listen(server, address), { ms: Infinity, isOver })),
    )
  }

  /** Ends every socket, those included that the relay does not know because they sent no packet yet. */
  destroySockets(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Stops listening; resolves when the last socket is gone. */
  async close(): Promise<void> {
    await Promise.all(this.#open.map(({ server }) => new Promise<void>((resolve) => server.close(() => resolve()))))
  }

  #reportKept(): void {
    if (!this.#kept) this.#options.onKept()
    this.#kept = true
  }
}
