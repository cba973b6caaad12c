/** Makes a failing plan smaller: removes steps, as many at once as possible, while it fails in the same way. */
import type { Plan, Step } from './plan.ts'

/**
 * @param violates runs a plan, and returns what kind of violation it finds
 * @param isOver whether there is no time for more runs
 */
export async function shrink(plan: Plan, violates: (plan: Plan) => Promise<string | undefined>, isOver: () => boolean): Promise<Plan> {
  const kind = await violates(plan)
  if (kind === undefined) return plan
  const fails = async (steps: readonly Step[]): Promise<boolean> => !isOver() && (await violates({ ...plan, steps })) === kind
  let { steps } = plan
  // All steps of one person or relay at once, then halves, quarters, and at last single steps.
  for (const name of [...plan.cast.people, ...plan.cast.relays].map((each) => each.name)) {
    const left = steps.filter((step) => !Object.values(step).includes(name))
    if (left.length < steps.length && (await fails(left))) steps = left
  }
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = Math.floor((steps.length - 1) / size) * size; at >= 0; at -= size) {
      const left = [...steps.slice(0, at), ...steps.slice(at + size)]
      if (await fails(left)) steps = left
    }
  }
  return { ...plan, steps }
}
