mod content;
mod place;
