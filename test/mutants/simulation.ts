/** Defects that the simulation must notice within its time. */
import type { Defect } from './defect.ts'

export const SIMULATION: readonly Defect[] = []
