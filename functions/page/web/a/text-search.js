// The words of the filters. They come with them.

export const search = {
    filters: "Filters",
    status: { all: "Open and done", open: "Open", completed: "Done" },
    statusLabel: "Status",
    priorityLabel: "Priority",
    anyPriority: "Any priority",
    priorities: { urgent: "Urgent", high: "High", medium: "Medium", low: "Low" },
    tagLabel: "Tag",
    anyTag: "Any tag",
    dueLabel: "Due",
    anyDue: "Any time",
    dues: { before: "Before today", today: "Today", week: "In 7 days", month: "In 30 days" },
    between: "Between two days…",
    /** @param {string} from @param {string} to */
    range: (from, to) => `${from} – ${to}`,
    from: "From",
    to: "To",
    sortLabel: "Sort",
    sorts: { "-created_at": "Newest first", created_at: "Oldest first", due_at: "Due first", "-due_at": "Due last", "-priority": "Most urgent first" },
    clear: "Clear",
    apply: "Apply",
};
