import type { Outgoing } from './outgoing.ts'

/** Above so many routes, those without a use are dropped: contacts can name new addresses again and again. */
const MOST = 64

/** The connections for sending, by route. Each is made when it is first needed. */
export class Routes {
  readonly #make: (route: string) => Outgoing
  readonly #all = new Map<string, Outgoing>()

  constructor(make: (route: string) => Outgoing) {
    this.#make = make
  }

  on(route: string): Outgoing {
    const outgoing = this.#all.get(route) ?? this.#make(route)
    this.#all.set(route, outgoing)
    return outgoing
  }

  /** Drops routes if there are many. @param used returns the routes that messages need */
  sweep(used: () => ReadonlySet<string>): void {
    if (this.#all.size <= MOST) return
    const routes = used()
    for (const [route, outgoing] of this.#all) if (outgoing.isIdle && !routes.has(route)) this.#all.delete(route)
  }

  close(): void {
    for (const outgoing of this.#all.values()) outgoing.close()
  }
}
