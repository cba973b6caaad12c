/** Sums up many simulations. */
import { FAULTS, WORK } from './plan.ts'
import type { Outcome } from './run.ts'

export class Report {
  readonly #cpu = process.cpuUsage()
  #scenarios = 0
  #personDays = 0
  #steps = 0
  readonly #counts = new Map<string, number>()

  add({ personDays, steps, counts }: Outcome): void {
    this.#scenarios++
    this.#personDays += personDays
    this.#steps += steps
    for (const [what, count] of Object.entries(counts)) {
      const before = this.#counts.get(what) ?? 0
      this.#counts.set(what, what.startsWith('most ') ? Math.max(before, count) : before + count)
    }
  }

  lines(): string[] {
    const { user, system } = process.cpuUsage(this.#cpu)
    const minutes = (user + system) / 60e6
    const counts = [...this.#counts].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([what, count]) => `${what} ${count}`)
    return [
      `${this.#scenarios} scenarios, ${this.#personDays.toFixed(0)} person-days, ${this.#steps} steps in ${(minutes * 60).toFixed(1)} s of one core`,
      `${(this.#personDays / minutes).toFixed(0)} person-days a minute, ${(this.#steps / minutes / 60).toFixed(0)} steps a second`,
      `happened: ${counts.join(', ')}`,
      `weights of what people do: ${weightsOf(WORK)}`,
      `weights of faults: ${weightsOf(FAULTS)}`,
    ]
  }
}

const weightsOf = (weights: Readonly<Record<string, number>>): string =>
  Object.entries(weights)
    .map(([what, weight]) => `${what} ${weight}`)
    .join(', ')
