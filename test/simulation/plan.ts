/**
 * A scenario: who takes part, and what happens when. A seed gives the whole plan; a plan is plain data, so that a failing
 * one can be made smaller (shrink.ts) and told as a story.
 */
import { Random } from './random.ts'

export interface Cast {
  readonly people: readonly {
    readonly name: string
    /** The relays that the person receives from. */
    readonly relays: readonly string[]
    readonly keeps: boolean
  }[]
  readonly relays: readonly { readonly name: string; /** Undefined for an open relay. */ readonly admits: readonly string[] | undefined }[]
  readonly isPerfect: boolean
}

export type Action =
  | { readonly do: 'write'; readonly who: string; readonly to: string }
  | { readonly do: 'close' | 'start' | 'kill' | 'lose power'; readonly who: string }

export type Step = Action & {
  /** ms after the start. */
  readonly at: number
}

export interface Plan {
  readonly seed: string
  readonly cast: Cast
  readonly steps: readonly Step[]
  /** When the faults stop, ms after the start. */
  readonly length: number
}

export const DAY = 86_400_000
const NAMES = ['Ada', 'Bob', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus', 'Hal', 'Ida', 'Jo'] as const

/** Makes the plan of a seed. */
export function planOf(seed: string): Plan {
  const random = new Random(`plan ${seed}`)
  const names = NAMES.slice(0, 2)
  const length = DAY
  const steps: Step[] = []
  for (const who of names) {
    const others = names.filter((each) => each !== who)
    for (let i = 0; i < 20; i++) steps.push({ at: random.between(60_000, length), do: 'write', who, to: random.pick(others) })
  }
  steps.sort((one, other) => one.at - other.at)
  return {
    seed,
    cast: {
      people: names.map((name) => ({ name, relays: ['Relay-1'], keeps: true })),
      relays: [{ name: 'Relay-1', admits: undefined }],
      isPerfect: true,
    },
    steps,
    length,
  }
}
