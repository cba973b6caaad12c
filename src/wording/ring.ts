/** Unusual changes of keys, in words: the change, and the next step of the user. */
import type { MessengerEvent } from '../client/messenger/event.ts'

export type KeyEvent = Extract<MessengerEvent, { kind: 'ring' | 'other-bundle' }>

export interface KeyNews {
  readonly text: string
  /** The next step; missing if there is none. */
  readonly hint?: string
}

/**
 * Describes an event about keys.
 * @param name the contact's name, safe to show; '' for an event about the user's own inbox
 * @param accept the command that accepts a beginning without a proof
 */
export function describeKeyEvent(event: KeyEvent, name: string, accept: string): KeyNews {
  if (event.kind === 'other-bundle') {
    return {
      text: 'another program has your inbox key: your second device, or a thief of your profile',
      hint: 'if you use one device, and restored no old copy of your profile: delete its file `inbox`, run `asfaleia me`, and give out the new card',
    }
  }
  switch (event.event) {
    case 'anew':
      return { text: `${name} lost their one-time keys, or uses another device; messages that they did not confirm are sent again` }
    case 'unproven':
      return {
        text: `a message says that ${name} lost all keys, without a proof: another person may have the SSH key of ${name}`,
        hint: `ask ${name} on a call; only if it is true: ${accept}`,
      }
    case 'two-clients':
      return {
        text: `two programs write with the SSH key of ${name}: a second device, or another person who has the key`,
        hint: `ask ${name} on a call whether they use two devices`,
      }
  }
}
