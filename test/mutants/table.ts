/** Every defect by hand. */
import type { Defect } from './defect.ts'
import { SIMULATION } from './simulation.ts'
import { AUTH } from './unit/auth.ts'
import { CLIENT } from './unit/client.ts'
import { DOORS } from './unit/doors.ts'
import { MAILBOX } from './unit/mailbox.ts'
import { OPERATION } from './unit/operation.ts'
import { PROTOCOL } from './unit/protocol.ts'
import { RELAY } from './unit/relay.ts'

export const DEFECTS: readonly Defect[] = [...AUTH, ...CLIENT, ...MAILBOX, ...DOORS, ...OPERATION, ...PROTOCOL, ...RELAY, ...SIMULATION]
