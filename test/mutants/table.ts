/** Every defect by hand. */
import type { Defect } from './defect.ts'
import { SIMULATION } from './simulation.ts'
import { MAILBOX } from './unit/mailbox.ts'

export const DEFECTS: readonly Defect[] = [...MAILBOX, ...SIMULATION]
