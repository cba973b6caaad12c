/** The order of conversations in a list. */

export interface Listed {
  readonly kind: 'contact' | 'group' | 'request' | 'strangers'
  readonly name: string
}

const RANK = { contact: 0, group: 0, request: 1, strangers: 2 } as const satisfies Record<Listed['kind'], number>

/** Compares two conversations: contacts and groups by name, then contact requests by name, then the strangers. */
export function compareConversations(a: Listed, b: Listed): number {
  return RANK[a.kind] - RANK[b.kind] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}
