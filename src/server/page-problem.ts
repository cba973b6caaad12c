/** Why the relay cannot offer the web page. */
export const PAGE_PROBLEMS = ['missing', 'unreadable', 'too-large', 'damaged'] as const
export type PageProblem = (typeof PAGE_PROBLEMS)[number]
