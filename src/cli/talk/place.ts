/**
 * Which group a message belongs to: one rule for `get` and the chat. A message names its group by an id, which any sender
 * can write. It belongs to the group only if the signature proves its sender, and the list in force has the sender on it.
 */
import { fingerprintOf } from '../../client/format/field.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import { type Groups, isMember, type KnownGroup } from '../profile/groups.ts'
import { showName } from '../../wording/name.ts'

export interface Place {
  /** The group that the message belongs to. */
  readonly within?: KnownGroup
  /** Why the message does not belong to the group that it names, for the reader; undefined if it names no group. */
  readonly remark?: string
}

/** @param me the user's own key */
export function placeOf({ verdict, envelope }: Received, groups: Groups, me: SshKey): Place {
  if (envelope?.group === undefined) return {}
  if (verdict === 'forged' || verdict === 'unverifiable' || verdict === 'readdressed') return {}
  const sender = fingerprintOf(envelope.from)
  const known = groups.withId(envelope.group).filter((each) => isMember(each, fingerprintOf(me)))
  const [within, other] = known.filter((each) => isMember(each, sender))
  if (within !== undefined && other === undefined) return { within }
  // The list inside names the group, and is accepted or not by its own rules.
  if (envelope.content.type === 'group' && known.length === 0) return {}
  if (known.length === 0) return { remark: 'to a group that you are not in' }
  const names = known.map(({ name }) => showName(name, 'group')).join(' and ')
  return { remark: within === undefined ? `not in the group ${names}` : `to a group; ${names} have the same id` }
}
