/** Why the file that should hold the relay's name does not do so. */
export const NAME_PROBLEMS = ['missing', 'denied', 'unreadable', 'malformed'] as const
export type NameProblem = (typeof NAME_PROBLEMS)[number]
